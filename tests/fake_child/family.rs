//! Processes that a server starts and that are hard to get rid of, one kind each: `--family setsid,deaf,many:200`.

use std::process::{Command, Stdio};

/// Starts one of each of the given kinds.
pub(crate) fn start(kinds: &[String]) {
    for kind in kinds {
        let (kind, n) = kind.split_once(':').unwrap_or((kind, "20"));
        let script = match kind {
            // In the server's own group.
            "plain" => "exec sleep 1000".to_owned(),
            // No signal to the server's group reaches it.
            "setsid" => "exec setsid sleep 1000".to_owned(),
            // Its parent is gone at once: what daemons do.
            "double_fork" => "setsid sleep 1000 & exit".to_owned(),
            // Only SIGKILL ends it.
            "deaf" => "trap '' TERM HUP INT; exec sleep 1000".to_owned(),
            // A double fork, deaf, in a session of its own, and without a trace of us in its environment.
            "bare" => "trap '' TERM HUP INT; env -i setsid sleep 1000 & exit".to_owned(),
            // Sleeps through SIGTERM until it is woken.
            "stopped" => "kill -STOP $$; exec sleep 1000".to_owned(),
            "many" => format!("i=0; while [ $i -lt {n} ]; do sleep 1000 & i=$((i+1)); done; wait"),
            // `sleep` does not wait for what the shell before it has started, and that ends when the shell, which would
            // wait, has become it.
            "zombies" => {
                let end = r#"while read -r name </proc/$$/comm && [ "$name" != sleep ]; do :; done"#;
                format!("i=0; while [ $i -lt {n} ]; do ( {end} ) & i=$((i+1)); done; exec sleep 1000")
            }
            // Holds stdout and stderr open, as the real process below a package runner does.
            "pipe" => "exec setsid sleep 1000".to_owned(),
            _ => {
                eprintln!("fake-child: it has no relatives of the kind `{kind}`");
                std::process::exit(2);
            }
        };
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &script]).stdin(Stdio::null());
        if kind != "pipe" {
            shell.stdout(Stdio::null()).stderr(Stdio::null());
        }
        let started = shell.spawn().expect("a shell can be started");
        // A server that waits for nobody: what ends stays a zombie as long as it lives.
        drop(started);
    }
}
