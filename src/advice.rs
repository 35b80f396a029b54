//! What to try when a child does not run: from what happened, what was started and what it wrote to stderr.
//!
//! Pure. Two tables: one by cause, here; one by the words of stderr, in `clues`.
//! The words are those that real servers and package runners print.
//! Used by the daemon for `why`, and by `mcpctl why` when no daemon runs.

mod clues;

use crate::config::first_of_words;
use crate::event::{Cause, Exit};
use crate::ids::ServerName;

/// What to try, most promising first. Never empty, except for a stop that somebody wanted.
///
/// `command` is the program with its arguments; `stderr` the last lines, oldest first.
pub fn advice(cause: &Cause, command: &[String], stderr: &[String]) -> Vec<String> {
    let scene = Scene::new(cause, command, stderr);
    let mut found = clues::from_words(&scene);
    found.extend(from_cause(cause, &scene));
    if !found.is_empty() || !is_wanted(cause) {
        found.extend(last_resort(cause, command));
    }
    without_repeats(found)
}

/// As [`advice`], with the server's name in the commands that are proposed.
pub fn advice_for(server: &ServerName, cause: &Cause, command: &[String], stderr: &[String]) -> Vec<String> {
    let named = format!(" {server}");
    advice(cause, command, stderr)
        .iter()
        .map(|one| one.replace(" NAME", &named))
        .collect()
}

/// What to do about a server that nobody wants to run.
pub fn advice_for_disabled(server: &ServerName) -> Vec<String> {
    vec![format!(
        "Enable it with `mcpctl enable {server}`: then it starts."
    )]
}

/// What the tables look at.
struct Scene<'a> {
    /// The last part of the program's path.
    program: &'a str,
    /// The program as declared.
    program_given: &'a str,
    args: &'a [String],
    /// Lines of stderr and the cause's own words.
    lines: Vec<&'a str>,
}

impl<'a> Scene<'a> {
    fn new(cause: &'a Cause, command: &'a [String], stderr: &'a [String]) -> Self {
        let (program_given, args) = match command.split_first() {
            Some((program, args)) => (program.as_str(), args),
            None => ("", [].as_slice()),
        };
        // The newest line first: it is nearest to the end of the process.
        let own_words = words_of(cause).into_iter();
        let lines = stderr.iter().rev().map(String::as_str).chain(own_words).collect();
        Self {
            program: program_given.rsplit('/').next().unwrap_or(""),
            program_given,
            args,
            lines,
        }
    }

    fn has_arg(&self, arg: &str) -> bool {
        self.args.iter().any(|given| given == arg)
    }

    /// Whether the program fetches a package before it runs it.
    fn is_package_runner(&self) -> bool {
        matches!(
            self.program,
            "npx" | "bunx" | "pnpm" | "yarn" | "uvx" | "uv" | "pipx" | "docker" | "podman"
        )
    }
}

/// The words within a cause that come from the child itself.
fn words_of(cause: &Cause) -> Option<&str> {
    match cause {
        Cause::NoHandshake { noise, .. } => noise.as_deref(),
        Cause::BadHandshake { why } => Some(why),
        Cause::Asked
        | Cause::OtherEra
        | Cause::Idle
        | Cause::ShuttingDown
        | Cause::CannotStart { .. }
        | Cause::NoResources { .. }
        | Cause::Exited { .. }
        | Cause::ExitedInHandshake { .. }
        | Cause::StdoutClosed
        | Cause::Garbled { .. }
        | Cause::WriteStalled
        | Cause::Unresponsive
        | Cause::Memory { .. }
        | Cause::TooManyProcesses { .. }
        | Cause::Unkillable { .. }
        | Cause::Panicked { .. } => None,
    }
}

fn from_cause(cause: &Cause, scene: &Scene<'_>) -> Vec<String> {
    match cause {
        Cause::Asked => vec!["Start it with `mcpctl start NAME`.".to_owned()],
        Cause::OtherEra => vec!["Nothing: it is started again at once.".to_owned()],
        Cause::Idle => vec!["Nothing: the next call starts it.".to_owned()],
        Cause::ShuttingDown => vec!["Start the daemon: `mcp-wrapper`.".to_owned()],
        Cause::CannotStart { why } => cannot_start(why, scene),
        Cause::NoResources { .. } => vec![
            "Close other programs, or raise the limits of the account that runs mcp-wrapper (`ulimit -u` for processes, `ulimit -n` for open files); it is tried again by itself.".to_owned(),
        ],
        Cause::Exited { exit } => ended(*exit, false, scene),
        Cause::ExitedInHandshake { exit } => ended(*exit, true, scene),
        Cause::NoHandshake { noise, .. } => no_handshake(noise.is_some(), scene),
        Cause::BadHandshake { .. } => vec![
            "It answered, but not as an MCP server does: look for a newer version of it, or for the flag that turns on its MCP or stdio mode.".to_owned(),
        ],
        Cause::StdoutClosed => vec![
            "It may have put itself into the background: look for a flag that keeps it in the foreground.".to_owned(),
        ],
        Cause::Garbled { .. } => vec![
            "If it sends very large results, raise `message_bytes_max` and `discard_bytes_max` for it in servers.toml.".to_owned(),
            "If it logs to stdout, look for a flag or variable that sends its log to stderr.".to_owned(),
        ],
        Cause::WriteStalled | Cause::Unresponsive => vec![
            "It is stuck in one call, or busy for long: look at `mcpctl logs NAME` for the last thing it did.".to_owned(),
            "If it is only slow, raise `probe_timeout` or `probe_threshold` for it in servers.toml.".to_owned(),
        ],
        Cause::Memory { .. } => too_much_memory(),
        Cause::TooManyProcesses { .. } => vec![
            "If it needs that many, raise `processes_max` for it in servers.toml; else it does not wait for what it starts: look for a newer version of it.".to_owned(),
        ],
        Cause::Panicked { .. } => vec![
            "Nothing is wrong with the server, and it is started again; please report what the daemon's log says of a panic.".to_owned(),
        ],
        Cause::Unkillable { pid, .. } => vec![
            format!("The kernel holds process {pid}, mostly because a disk or a network file system does not answer; see `ps -o pid,stat,wchan -p {pid}`."),
        ],
    }
}

fn cannot_start(why: &str, scene: &Scene<'_>) -> Vec<String> {
    let why = why.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
    let given = scene.program_given;
    if has(&["${", "has no value", "is not set"]) {
        vec!["Give the variable a value: in `.env` beside servers.toml, in the environment of mcp-wrapper, or as `${NAME:-default}`.".to_owned()]
    } else if has(&["cwd", "working folder", "working directory", "its folder"]) {
        vec!["Create the folder it shall run in, or correct `cwd` (`mcpctl add NAME --replace --cwd DIR -- …`).".to_owned()]
    } else if has(&["permission denied", "eacces", "not executable", "os error 13"]) {
        vec![format!(
            "Make it executable (`chmod +x {given}`), and check that it is a file, not a folder, on a file system that allows programs."
        )]
    } else if has(&["exec format", "os error 8"]) {
        vec![format!(
            "`{given}` is built for another machine, or is a script without a first line like `#!/usr/bin/env node`: start it through its interpreter."
        )]
    } else if has(&["no such file", "not found", "os error 2", "enoent", "no program"]) {
        not_found(scene)
    } else {
        Vec::new()
    }
}

fn not_found(scene: &Scene<'_>) -> Vec<String> {
    let program = scene.program;
    if let Some(first) = first_of_words(scene.program_given) {
        return vec![format!(
            "The program and its arguments are one text here, and no shell splits them: write `command = \"{first}\"` and the other words in `args = [\"…\", \"…\"]`, or `mcpctl add NAME --replace -- {first} …` without quotes around all of it."
        )];
    }
    if scene.program_given.contains('/') {
        return vec![format!(
            "Check the path `{}`; if the file is there, the interpreter named in its first line is missing.",
            scene.program_given
        )];
    }
    let package = match program {
        "npx" | "npm" | "node" => Some("Node.js"),
        "uvx" | "uv" => Some("uv"),
        "docker" => Some("Docker"),
        "python" => Some("Python, or write `python3`"),
        "python3" | "pipx" => Some("Python"),
        "bun" | "bunx" => Some("Bun"),
        "deno" => Some("Deno"),
        _ => None,
    };
    let install = package.map(|name| format!("Install {name}."));
    let path = format!(
        "If `{program}` works in your terminal, use the absolute path that `command -v {program}` prints there: a client started from the desktop has a short PATH."
    );
    install.into_iter().chain([path]).collect()
}

fn too_much_memory() -> Vec<String> {
    vec![
        "If it needs that much, raise `memory_max` for it in servers.toml; else look for a newer version of it, or for a way to give it less to do at once.".to_owned(),
        "If it only grows over days, that restart is all that is needed.".to_owned(),
    ]
}

fn ended(exit: Exit, in_handshake: bool, scene: &Scene<'_>) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(forgotten_flag(scene));
    match exit {
        Exit::Code(0) if in_handshake => found.push(
            "It ended without an error, so it may not be a stdio server: look in its manual for a flag such as `--stdio`, `stdio` or `--transport stdio`.".to_owned(),
        ),
        Exit::Code(0) => found.push("It ended by itself without an error: look for a flag that keeps it running, or set `restart = \"on-failure\"` for it in servers.toml.".to_owned()),
        Exit::Code(126) => found.push("Code 126 is the shell's \"cannot execute\": check that the file is executable.".to_owned()),
        Exit::Code(127) => found.push("Code 127 is the shell's \"command not found\": use absolute paths inside `sh -c`.".to_owned()),
        Exit::Signal(9) => found.push(
            "Signal 9 that mcp-wrapper did not send is mostly the kernel short of memory (`dmesg | grep -i oom`): give the machine or the container more memory, or the server less to do.".to_owned(),
        ),
        Exit::Signal(4 | 7 | 11) => found.push(
            "It crashed in machine code: update it and its native modules, and check that they are built for this processor and this version of Node or Python.".to_owned(),
        ),
        Exit::Signal(15) => found.push("Somebody outside mcp-wrapper ended it with SIGTERM.".to_owned()),
        Exit::OutOfMemory { .. } => found.extend(too_much_memory()),
        Exit::Code(_) | Exit::Signal(_) => {}
    }
    found
}

fn no_handshake(noisy: bool, scene: &Scene<'_>) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(forgotten_flag(scene));
    if noisy {
        found.push("It prints text to stdout, where only messages belong: look for a quiet or stdio flag, or for the variable that sends its log to stderr.".to_owned());
    }
    if scene.is_package_runner() {
        found.push(format!(
            "`{}` downloads on the first start: raise `start_timeout` for it in servers.toml, or start it once by hand.",
            scene.program
        ));
    }
    found.push("It may serve HTTP instead of stdio: look in its manual for a flag such as `--stdio` or `--transport stdio`.".to_owned());
    found
}

/// Flags of the runners without which a server cannot be reached or asks a question nobody answers.
fn forgotten_flag(scene: &Scene<'_>) -> Option<String> {
    let interactive = scene
        .args
        .iter()
        .any(|arg| arg == "--interactive" || (is_short_flags(arg) && arg.contains('i')));
    match scene.program {
        "docker" | "podman" if scene.has_arg("run") && !interactive => Some(format!(
            "`{} run` needs `-i`, or the container has no stdin.",
            scene.program
        )),
        "npx" if !scene.has_arg("-y") && !scene.has_arg("--yes") => {
            Some("Add `-y` after `npx`, or it asks before it installs, and nobody answers.".to_owned())
        }
        _ => None,
    }
}

fn is_short_flags(arg: &str) -> bool {
    arg.len() > 1 && arg.starts_with('-') && arg.chars().skip(1).all(|c| c.is_ascii_alphabetic())
}

fn last_resort(cause: &Cause, command: &[String]) -> Option<String> {
    if is_wanted(cause) || command.is_empty() {
        return None;
    }
    let line: Vec<String> = command.iter().map(|word| quoted(word)).collect();
    Some(format!(
        "Run it by hand and read what it says: {}",
        line.join(" ")
    ))
}

fn is_wanted(cause: &Cause) -> bool {
    matches!(cause, Cause::Asked | Cause::Idle | Cause::ShuttingDown)
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./-_".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

fn without_repeats(all: Vec<String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(cause: &Cause, command: &str, stderr: &str) -> String {
        let command: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let stderr: Vec<String> = stderr.lines().map(str::to_owned).collect();
        advice(cause, &command, &stderr)
            .first()
            .cloned()
            .unwrap_or_default()
    }

    #[test]
    fn the_first_advice_fits_the_cause() {
        let cannot = |why: &str| Cause::CannotStart { why: why.to_owned() };
        let early = |exit| Cause::ExitedInHandshake { exit };
        let silent = Cause::NoHandshake {
            waited_ms: 60_000,
            noise: None,
        };
        let noisy = Cause::NoHandshake {
            waited_ms: 1,
            noise: Some("Listening".to_owned()),
        };
        let cases = [
            (
                cannot("npx: No such file or directory"),
                "npx -y x",
                "Install Node.js",
            ),
            (cannot("uvx: not found in PATH /bin"), "uvx x", "Install uv"),
            (cannot("docker: not found"), "docker run x", "Install Docker"),
            (
                cannot("No such file or directory (os error 2)"),
                "mytool",
                "`command -v mytool`",
            ),
            (cannot("No such file or directory"), "/opt/x/run", "`/opt/x/run`"),
            // With spaces that do not part the words of this test.
            (
                cannot("`npx -y @x/y`: no such file"),
                "npx\u{a0}-y\u{a0}@x/y",
                "command = \"npx\"",
            ),
            (
                cannot("Permission denied (os error 13)"),
                "/opt/x",
                "chmod +x /opt/x",
            ),
            (
                cannot("the working folder /nope does not exist"),
                "npx x",
                "correct `cwd`",
            ),
            (
                cannot("Exec format error (os error 8)"),
                "/opt/x",
                "another machine",
            ),
            (cannot("`${TOKEN}` has no value"), "npx x", "`.env`"),
            (early(Exit::Code(0)), "server", "--stdio"),
            (early(Exit::Code(127)), "sh -c x", "command not found"),
            (early(Exit::Signal(9)), "server", "memory"),
            (
                early(Exit::OutOfMemory { limit: 1 }),
                "server",
                "raise `memory_max`",
            ),
            (early(Exit::Signal(11)), "server", "machine code"),
            (early(Exit::Code(1)), "docker run img", "needs `-i`"),
            (silent.clone(), "npx -y x", "start_timeout"),
            (silent.clone(), "npx x", "Add `-y`"),
            (silent, "server", "--transport stdio"),
            (noisy, "server", "prints text to stdout"),
            (
                Cause::BadHandshake {
                    why: "Method not found".to_owned(),
                },
                "s",
                "newer version",
            ),
            (Cause::StdoutClosed, "s", "foreground"),
            (
                Cause::Garbled {
                    why: "a line without end".to_owned(),
                },
                "s",
                "message_bytes_max",
            ),
            (Cause::Unresponsive, "s", "mcpctl logs"),
            (Cause::WriteStalled, "s", "mcpctl logs"),
            (
                Cause::Memory {
                    used: 2,
                    limit: 1,
                    n_processes: 1,
                },
                "s",
                "raise `memory_max`",
            ),
            (
                Cause::TooManyProcesses {
                    n_processes: 2,
                    limit: 1,
                },
                "s",
                "raise `processes_max`",
            ),
            (
                Cause::Unkillable {
                    pid: 7,
                    state: Some('D'),
                },
                "s",
                "process 7",
            ),
            (
                Cause::Panicked {
                    what: "child stdout: oh".to_owned(),
                },
                "s",
                "please report",
            ),
            (
                Cause::NoResources {
                    why: "EAGAIN".to_owned(),
                },
                "s",
                "ulimit",
            ),
            (Cause::Asked, "s", "mcpctl start"),
        ];
        for (cause, command, expected) in cases {
            let told = first(&cause, command, "");
            assert!(told.contains(expected), "{cause:?} with `{command}`: {told}");
        }
    }

    #[test]
    fn docker_with_its_flag_is_not_told_to_add_it() {
        for command in [
            "docker run -i img",
            "docker run --rm -it img",
            "docker run --interactive img",
        ] {
            let told = first(&Cause::ExitedInHandshake { exit: Exit::Code(1) }, command, "");
            assert!(!told.contains("needs `-i`"), "{command}: {told}");
        }
    }

    #[test]
    fn what_stderr_says_comes_before_what_the_exit_code_says() {
        let cause = Cause::ExitedInHandshake { exit: Exit::Code(0) };
        let told = first(
            &cause,
            "server",
            "Error: GITHUB_TOKEN environment variable is required",
        );
        assert!(told.contains("--env GITHUB_TOKEN="), "{told}");
    }

    #[test]
    fn every_unwanted_end_has_an_advice_that_a_shell_can_run() {
        let told = advice(
            &Cause::Exited { exit: Exit::Code(1) },
            &["sh".to_owned(), "-c".to_owned(), "it's a".to_owned()],
            &[],
        );
        assert_eq!(
            told.last().unwrap(),
            r"Run it by hand and read what it says: sh -c 'it'\''s a'"
        );
    }

    #[test]
    fn proposed_commands_name_the_server() {
        let name = ServerName::parse("git").unwrap();
        assert_eq!(
            advice_for(&name, &Cause::Asked, &[], &[]),
            ["Start it with `mcpctl start git`."]
        );
    }

    #[test]
    fn nothing_is_said_twice() {
        let cause = Cause::ExitedInHandshake { exit: Exit::Code(1) };
        let lines = vec!["Cannot find module 'x'".to_owned(); 5];
        let told = advice(&cause, &["node".to_owned()], &lines);
        let mut sorted = told.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), told.len());
    }
}
