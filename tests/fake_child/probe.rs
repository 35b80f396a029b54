//! What servers of earlier revisions do when they are asked `server/discover` before anything else, as
//! `--on-discover` tells; without it they answer as to any unknown method.
//!
//! | `--on-discover` | what happens |
//! | --- | --- |
//! | `exit` | the process ends |
//! | `silent` | no answer |
//! | `error=CODE` | this error |
//! | `error=CODE,close` | this error, and then the process ends |
//! | `legacy-versions` | a result that names revisions with a handshake only |
//! | `late=SECONDS` | the result of a modern server, so much later; everything else is answered meanwhile |
//! | `unsupported=REV,REV` | the error -32022 with these revisions in its `data.supported` |
//!
//! A modern server can be told to do so, too.

use std::str::FromStr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::methods;
use crate::modern;
use crate::options::LEGACY_REVISIONS;
use crate::world::World;

/// One way to react.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reaction {
    Exit,
    Silent,
    Error { code: i32, closes: bool },
    LegacyVersions,
    Late(Duration),
    Unsupported(Vec<String>),
}

impl FromStr for Reaction {
    type Err = String;

    fn from_str(told: &str) -> Result<Self, String> {
        let (word, value) = told.split_once('=').unwrap_or((told, ""));
        let bad = || format!("`--on-discover` knows no `{told}`");
        match word {
            "exit" => Ok(Self::Exit),
            "silent" => Ok(Self::Silent),
            "legacy-versions" => Ok(Self::LegacyVersions),
            "error" => {
                let (code, closes) = match value.strip_suffix(",close") {
                    Some(code) => (code, true),
                    None => (value, false),
                };
                let code = code.parse().map_err(|_| bad())?;
                Ok(Self::Error { code, closes })
            }
            "late" => {
                let seconds = value.parse().map_err(|_| bad())?;
                let late = Duration::try_from_secs_f64(seconds).map_err(|_| bad())?;
                Ok(Self::Late(late))
            }
            "unsupported" => Ok(Self::Unsupported(value.split(',').map(str::to_owned).collect())),
            _ => Err(bad()),
        }
    }
}

/// Reacts. False when the probe is to be answered as the era has it.
pub(crate) fn run(world: &Arc<World>, id: &str) -> bool {
    let Some(reaction) = world.options.on_discover.clone() else {
        return false;
    };
    world.journal.note("probed");
    match reaction {
        Reaction::Exit => world.leave(1),
        Reaction::Silent => {}
        Reaction::Error { code, closes } => {
            world.refuse(id, code, "this server knows no such thing before `initialize`");
            if closes {
                world.leave(1);
            }
        }
        Reaction::LegacyVersions => {
            let capabilities = methods::capabilities(&world.options);
            modern::discovered(world, id, &json!(LEGACY_REVISIONS), capabilities);
        }
        Reaction::Late(late) => {
            let (world, id) = (Arc::clone(world), id.to_owned());
            thread::spawn(move || {
                thread::sleep(late);
                modern::discover(&world, &id);
            });
        }
        Reaction::Unsupported(supported) => {
            let data = json!({ "supported": supported, "requested": modern::REVISION });
            world.refuse_with(id, -32022, "Unsupported protocol version", &data);
        }
    }
    true
}
