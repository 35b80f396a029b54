//! Streams that broke off.
