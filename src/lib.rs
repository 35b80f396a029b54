//! mcp-wrapper: one supervised MCP endpoint in front of many stdio MCP servers.
//!
//! Two paths, and everything is on one of them; `ARCHITECTURE.md` draws them.
//! A module names modules that stand after it in this table only; `tests/tidy.rs` holds it to that.
//!
//! | row | modules |
//! | --- | --- |
//! | 8 | `bin/*`, `app` |
//! | 7 | `demo`, `ctl`, `front` |
//! | 6 | `bridge` |
//! | 5 | `session` |
//! | 4.5 | `route` |
//! | 4 | `catalog` |
//! | 3.5 | `declare` |
//! | 3 | `supervise` |
//! | 2 | `child`, `registry` |
//! | 1 | `advice`, `login_path`, `telemetry`, `tasks`, `rpc`, `config`, `place`, `retry`, `api`, `event`, `access` |
//! | 0 | `ids` |

pub mod access;
pub mod advice;
pub mod api;
pub mod app;
pub mod bridge;
pub mod catalog;
pub mod child;
pub mod config;
pub mod ctl;
pub mod declare;
pub mod demo;
pub mod event;
pub mod front;
pub mod ids;
pub mod login_path;
pub mod place;
pub mod registry;
pub mod retry;
pub mod route;
pub mod rpc;
pub mod session;
pub mod supervise;
pub mod tasks;
pub mod telemetry;
