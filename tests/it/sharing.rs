//! Processes that clients do not share.
