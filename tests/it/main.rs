//! All integration tests, in one binary.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may fail loudly"
)]
mod adversaries;
mod aliases;
mod arriving;
mod batches;
mod both_eras;
mod cgroup;
mod circuits;
mod connected;
mod control;
mod crash;
mod crossing;
mod ctl_api;
mod ctl_clients;
mod ctl_offline;
mod downgrade;
mod fake_modern;
mod faults;
mod fidelity;
mod harness;
mod identity;
mod keys;
mod lazy;
mod limits;
mod lists;
mod matrix;
mod mcpctl;
mod meaning;
mod modern_child;
mod modern_client;
mod newcomers;
mod noise;
mod outlive;
mod pool;
mod probe;
mod progress;
mod provenance;
mod questions;
mod reload;
mod resources;
mod resume;
mod roots;
mod secrets;
mod security;
mod sharing;
mod shim;
mod shutdown;
mod sse_door;
mod stop_command;
mod stories;
mod streamable;
mod subscriptions;
mod succession;
mod tasks;
mod tasks_between;
mod timeouts;
mod trace;
mod trees;
mod undisturbed;
mod withdrawn;
