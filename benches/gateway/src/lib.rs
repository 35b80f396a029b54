//! What the programs of the bench share: finding their way in JSON without parsing it, and the answers of the child,
//! which the bare HTTP server gives as well.

pub mod answers;
pub mod scan;
