//! From what was asked to who answers, and from what a child says by itself to whom it concerns.
//!
//! Forwards: [`router`] finds the child by the catalogue's tables and edits the few named members that are ours.
//! Backwards: [`backward`] empties the children's common queue; sessions leave an [`outbox`] here under their id.

pub mod attribute;
pub mod backward;
pub mod context;
pub mod listeners;
pub mod outbox;
pub mod router;

pub use context::CallContext;
pub use listeners::Listeners;
pub use outbox::Outbox;
pub use router::{RouteError, Router};
