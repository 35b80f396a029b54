//! From what was asked to who answers, and from what a child says by itself to whom it concerns.
//!
//! Forwards: [`router`] finds the child by the catalogue's tables and edits the few named members that are ours.
//! Backwards: [`backward`] empties the children's common queue; sessions leave a [`client`] here under
//! their id. What a child asks is decided in [`ask`] and kept in [`questions`]. Tasks that outlive their call
//! are known to [`task_table`]; where client and child know tasks of different kinds, `hosting` keeps them.

pub mod ask;
pub mod asks;
pub mod assurance;
pub mod attribute;
pub mod backward;
pub mod client;
pub mod context;
pub mod error;
mod follow;
mod hosting;
mod levels;
pub mod listeners;
mod listening;
pub mod modern;
mod moves;
mod needs;
pub mod outbox;
mod owners;
mod pool;
mod processes;
pub mod project;
pub mod provenance;
pub mod questions;
pub mod related;
pub mod roots;
mod rounds;
pub mod router;
mod subscriptions;
mod task_calls;
pub mod task_table;
pub mod task_watch;
pub mod task_words;
pub mod trace;
pub mod urls;

pub use client::ClientSide;
pub use context::CallContext;
pub use error::RouteError;
pub use listeners::Listeners;
pub use router::Router;
