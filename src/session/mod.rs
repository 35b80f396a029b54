//! Who asks: one client's conversation, from its handshake to its end.

pub mod conversation;
pub mod keep;
pub mod replay;
pub mod sessions;
pub mod sweep;

pub use conversation::{Door, InFlight, Session};
pub use sessions::Sessions;
