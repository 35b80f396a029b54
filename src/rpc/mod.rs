//! What a message is. No tasks, no IO, no clock.
//!
//! Payloads stay raw JSON from end to end: [`Raw`] is the text of one value, shared and never copied; the envelope
//! is parsed ([`message`]), named members are edited in place ([`object`]), and nothing is re-serialised through
//! typed structs, so that unknown fields, explicit nulls, big numbers and key order survive.

pub mod error;
pub mod frame;
pub mod id;
pub mod mcp;
pub mod message;
pub mod object;
pub mod raw;
pub mod trace;

pub use error::RpcError;
pub use id::RequestId;
pub use message::{Incoming, Message, Notification, Outcome, Request, Response};
pub(crate) use raw::quote_onto;
pub use raw::{Raw, Text};
