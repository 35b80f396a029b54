//! What is on offer: the merged, ordered view that every list is served from.
//!
//! [`snapshot`] is what one child offers; [`view`] merges all of them, once a change; [`refresh`] fetches a child's
//! lists when it is ready or says that they changed. A list costs no child a message.

pub mod eras;
pub mod names;
pub mod refresh;
pub mod snapshot;
mod trial;
pub mod uris;
pub mod view;

pub use refresh::Catalog;
pub use snapshot::{Kind, Snapshot};
pub use view::View;
