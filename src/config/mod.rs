//! Text to valid configuration, or all its errors at once.

pub mod spec;
