//! From what was asked to who answers, and from what a child says by itself to whom it concerns.
//!
//! Forwards: [`router`] finds the child by the catalogue's tables and edits the few named members that are ours.
//! Backwards: [`backward`] empties the children's common queue; sessions leave a [`client`] here under
//! their id. What a child asks is decided in [`ask`] and kept in [`questions`].

pub mod ask;
pub mod asks;
pub mod attribute;
pub mod backward;
pub mod client;
pub mod context;
pub mod listeners;
pub mod outbox;
pub mod project;
pub mod provenance;
pub mod questions;
pub mod roots;
pub mod router;
pub mod trace;

pub use client::ClientSide;
pub use context::CallContext;
pub use listeners::Listeners;
pub use router::{RouteError, Router};
