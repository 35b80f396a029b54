//! Many children: what is declared becomes what runs.
//!
//! [`ProcessManager`] holds the children and publishes the [`Directory`]; requests read it and never pass here.

pub mod directory;
pub mod instances;
pub mod manager;
mod plan;
pub mod succession;

pub use directory::{Directory, Entry, Successor};
pub use manager::ProcessManager;
