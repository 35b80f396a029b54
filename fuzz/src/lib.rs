//! Fuzz targets: each takes any bytes, gives them to one pure part of the program, and panics when a promise of
//! that part does not hold. Where there is an oracle (serde_json, a model, the same bytes in other chunks) it is asked.

mod any;

pub mod config;
pub mod escaping;
pub mod framer;
pub mod headers;
pub mod import;
pub mod memory;
pub mod message;
pub mod mirror;
pub mod names;
pub mod object;
pub mod pending;
pub mod seal;
pub mod sessions;

/// A target.
pub type Target = fn(&[u8]);

/// All targets, by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("config", config::run),
    ("escaping", escaping::run),
    ("framer", framer::run),
    ("headers", headers::run),
    ("import", import::run),
    ("memory", memory::run),
    ("message", message::run),
    ("mirror", mirror::run),
    ("names", names::run),
    ("object", object::run),
    ("pending", pending::run),
    ("seal", seal::run),
    ("sessions", sessions::run),
];
