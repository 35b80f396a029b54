//! What is on offer: the merged, ordered view that every list is served from.
//!
//! [`snapshot`] is what one child offers; [`part`] is the same as clients see it; [`view`] merges all of them, once a
//! change; [`refresh`] fetches a child's lists when it is ready or says that they changed; `merger` makes one view
//! of many changes at once; `scoped` is the view of those who may not see everything; `arriving` waits for lists that are
//! on their way; [`standing`] says how good they are. A list costs no child a message.

mod arriving;
pub mod changes;
mod due;
pub mod eras;
mod listing;
mod merger;
pub mod names;
pub mod part;
pub mod refresh;
pub mod scoped;
pub mod snapshot;
pub mod standing;
mod trial;
pub mod uris;
pub mod view;

pub use refresh::Catalog;
pub use snapshot::{Kind, Snapshot};
pub use standing::Standing;
pub use view::View;
