//! Deeds of the whole process: it stops, spins, dies of a signal, falls silent, or answers what nobody waits for.

use std::fs::OpenOptions;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use tokio::time::Instant;

use crate::methods::{Members, text};
use crate::world::World;

/// Does what the call asks for. False when the deed is none of these.
pub(crate) fn run(world: &Arc<World>, id: &str, deed: &str, members: &Members<'_>, arguments: &str) -> bool {
    let time = || {
        let given = members.get("ms").and_then(|raw| raw.get().parse().ok());
        Duration::from_millis(given.unwrap_or(100))
    };
    match deed {
        // From now on nothing is answered, though everything is read.
        "hang_all" => world.mute.store(true, Ordering::Relaxed),
        "sigstop_self" => raise(Signal::SIGSTOP).expect("a process may stop itself"),
        // Reads nothing for `ms`, and needs the processor all the while.
        "busy_loop" => {
            let begun = Instant::now();
            while begun.elapsed() < time() {
                std::hint::spin_loop();
            }
            world.answer_text(id, arguments);
        }
        // Of the signal that `signal` names.
        "die_by_signal" => {
            let signal = Signal::from_str(&text(members, "signal")).expect("`signal` names one");
            // The runtime's own handler of a fault takes the first, and none after it.
            for _ in 0..2 {
                raise(signal).expect("a process may signal itself");
            }
        }
        // Answers `ms` after it was cancelled.
        "late_answer" => {
            world.begin(id);
            let (world, id, arguments, time) =
                (Arc::clone(world), id.to_owned(), arguments.to_owned(), time());
            thread::spawn(move || {
                world.wait(&id, Duration::from_secs(60));
                thread::sleep(time);
                world.answer_text(&id, &arguments);
            });
        }
        _ => return false,
    }
    true
}

/// Ends the first process that gets the request that `--exit-once` names.
pub(crate) fn exit_once(world: &World, method: Option<&str>) {
    let (Some(wanted), Some(state)) = (world.options.exit_once.as_deref(), &world.options.state) else {
        return;
    };
    // The file is there from the first time on.
    if method == Some(wanted)
        && OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(state)
            .is_ok()
    {
        world.leave(1);
    }
}
