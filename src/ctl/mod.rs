//! x.
pub mod args;
mod client;
mod failure;
mod import;
mod render;
pub use failure::Failure;
