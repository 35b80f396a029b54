//! What of a command is known only when it starts: secrets in files, in the keyring, from programs.
//!
//! Fetched anew for each process, so that a secret that was rotated counts at the next start. What cannot be fetched
//! does not keep the server from starting: the variable is not set, or the place in the argument stays empty; and this
//! is told.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::time::{Instant, sleep, timeout_at};

use super::birth::Surroundings;
use super::mask::Mask;
use super::process::{Pipes, Process, Tag};
use crate::config::reference::{Part, Provider};
use crate::config::spec::{Command, Late, Secret};
use crate::event::Rung;
use crate::ids::{Generation, ServerName};

/// Patience for one of them: a keyring may ask a person for a password.
const PATIENCE: Duration = Duration::from_secs(10);
/// Patience for all of one server.
const PATIENCE_FOR_ALL: Duration = Duration::from_secs(30);
/// Longest secret, bytes: room for a key with its certificates.
const BYTES_MAX: u64 = 64 << 10;
/// A program that has ended may have left its stdout to another, which never ends it.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Under this name a secret is looked for in the keyring of the desktop.
const KEYRING_SERVICE: &str = "mcp-wrapper";

/// A command of which everything is known.
#[derive(Debug)]
pub(super) struct Filled {
    pub(super) command: Command,
    /// What must not be shown of what it writes.
    pub(super) mask: Mask,
    /// What could not be fetched, one sentence each.
    pub(super) missing: Vec<String>,
}

/// What the present process had to do without, for people. Nobody waits in here.
#[derive(Debug, Default)]
pub struct Missing(Mutex<Vec<String>>);

impl Missing {
    /// One sentence each; empty when everything was fetched.
    pub fn told(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, missing: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = missing;
    }
}

/// What was fetched, or the sentence that says why not.
type Fetched = Vec<(Provider, Result<Secret, String>)>;

/// Fetches what is missing of a command. Takes no longer than half a minute; dropped, it leaves nothing behind.
pub(super) async fn fill(
    command: &Command,
    server: &ServerName,
    generation: Generation,
    surroundings: &Surroundings,
) -> Filled {
    let mut fetched: Fetched = Vec::new();
    let deadline = Instant::now() + PATIENCE_FOR_ALL;
    for provider in providers(command) {
        let value = fetch(&provider, deadline, server, generation, surroundings).await;
        fetched.push((provider, value));
    }
    let (command, missing) = assembled(command, &fetched);
    let secrets = fetched.iter().filter_map(|(_, value)| value.as_ref().ok());
    let mask = Mask::of(&command).with(secrets);
    Filled {
        command,
        mask,
        missing,
    }
}

/// Whom to ask, each once.
fn providers(command: &Command) -> Vec<Provider> {
    let both = std::iter::once(command).chain(command.stop.as_deref());
    let parts = both.flat_map(|command| command.late.env.values().chain(command.late.args.values()));
    let mut all = Vec::new();
    for part in parts.flatten() {
        if let Part::Fetched { provider, .. } = part
            && !all.contains(provider)
        {
            all.push(provider.clone());
        }
    }
    all
}

async fn fetch(
    provider: &Provider,
    deadline: Instant,
    server: &ServerName,
    generation: Generation,
    surroundings: &Surroundings,
) -> Result<Secret, String> {
    let deadline = deadline.min(Instant::now() + PATIENCE);
    let value = match provider {
        Provider::Variable(name) => Err(format!("the variable {name} is not set")),
        Provider::File(path) => {
            let file = path.clone();
            let reading = tokio::task::spawn_blocking(move || read_file(&file));
            let shown = path.display();
            match timeout_at(deadline, reading).await {
                Ok(Ok(read)) => read.map_err(|why| format!("the file `{shown}`: {why}")),
                Ok(Err(_panicked)) => Err(format!("the file `{shown}` could not be read")),
                Err(_late) => Err(format!("the file `{shown}` could not be read in time")),
            }
        }
        Provider::Program(words) => run(words, deadline, server, generation, surroundings).await,
        Provider::Keyring(name) => {
            let words = keyring(name, cfg!(target_os = "macos"));
            let asked = run(&words, deadline, server, generation, surroundings).await;
            asked.map_err(|why| format!("`{name}` in the keyring: {why}"))
        }
    };
    value.map(Secret::new)
}

/// The program that knows the keyring of the desktop: of the Secret Service (libsecret), or of macOS.
fn keyring(name: &str, is_macos: bool) -> Vec<String> {
    let words: &[&str] = if is_macos {
        &[
            "security",
            "find-generic-password",
            "-w",
            "-s",
            KEYRING_SERVICE,
            "-a",
            name,
        ]
    } else {
        &["secret-tool", "lookup", "service", KEYRING_SERVICE, "name", name]
    };
    words.iter().map(|&word| word.to_owned()).collect()
}

fn read_file(path: &Path) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    // A pipe would be waited for.
    if !std::fs::metadata(path).map_err(told)?.is_file() {
        return Err("it is no plain file".to_owned());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(told)?;
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(told)?;
    text_of(bytes)
}

/// The secret itself: without the line end that editors and programs put behind it.
fn text_of(bytes: Vec<u8>) -> Result<String, String> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > BYTES_MAX {
        return Err(format!("more than {BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "no UTF-8".to_owned())?;
    let text = text.trim_end_matches(['\n', '\r']);
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.contains('\0') {
        return Err("it holds a NUL character".to_owned());
    }
    Ok(text.to_owned())
}

/// What a program writes to its stdout. Its arguments and its stderr are not told: who knows what is in them.
async fn run(
    words: &[String],
    deadline: Instant,
    server: &ServerName,
    generation: Generation,
    surroundings: &Surroundings,
) -> Result<String, String> {
    let (program, args) = words.split_first().ok_or("no program")?;
    let command = Command {
        program: program.clone(),
        args: args.to_vec(),
        env: whole_environment(),
        late: Late::default(),
        cwd: None,
        shown: Vec::new(),
        stop: None,
    };
    let spawning = Process::spawn(
        &command,
        &surroundings.path,
        &surroundings.keeping,
        tag(server, generation),
    );
    let (mut process, pipes) = spawning.await.map_err(|cause| cause.to_string())?;
    let Pipes {
        stdin,
        stdout,
        mut stderr,
    } = pipes;
    drop(stdin);
    let mut written = Vec::new();
    let in_time = timeout_at(deadline, async {
        // Both are read at once: one that is full would hold the program.
        let mut nowhere = tokio::io::sink();
        let reading = async {
            let unread = tokio::io::copy(&mut stderr, &mut nowhere);
            tokio::join!(read(stdout, &mut written), unread)
        };
        tokio::select! {
            _ = reading => {}
            () = async { process.ended().await; sleep(LAST_WORDS).await } => {}
        }
        process.ended().await;
    })
    .await
    .is_ok();
    // What it has left behind goes with it.
    process.ask(Rung::Killed);
    process.ended().await;
    process.tree_gone().await;
    let exit = process.reap().await;
    if !in_time {
        return Err(format!("`{program}` took longer than {} s", PATIENCE.as_secs()));
    }
    if !exit.is_success() {
        return Err(format!("`{program}` failed ({exit})"));
    }
    text_of(written).map_err(|why| format!("the output of `{program}`: {why}"))
}

async fn read(stdout: ChildStdout, into: &mut Vec<u8>) {
    if let Err(error) = stdout.take(BYTES_MAX + 1).read_to_end(into).await {
        tracing::debug!(%error, "the output of a program for a secret ended early");
    }
}

/// Unlike a server, who knows secrets needs to know where its own are: the session's bus, the agent's socket, the vault.
fn whole_environment() -> BTreeMap<String, Secret> {
    let all = std::env::vars_os();
    let texts = all.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    texts
        .filter(|(name, _)| name != "PATH")
        .map(|(name, value)| (name, Secret::new(value)))
        .collect()
}

fn tag(server: &ServerName, generation: Generation) -> Tag<'_> {
    Tag {
        server: server.as_str(),
        generation: generation.0,
        eof_grace: Duration::ZERO,
        term_grace: Duration::ZERO,
        #[cfg(target_os = "linux")]
        bounds: super::process::Bounds {
            files_max: 65_536,
            core_dumps: false,
            nice: 0,
        },
        memory_max: None,
        processes_max: 1_000,
    }
}

/// The command with what was fetched, and what is missing of it.
fn assembled(command: &Command, fetched: &Fetched) -> (Command, Vec<String>) {
    let mut missing = Vec::new();
    let mut done = filled(command, fetched, "args", &mut missing);
    done.stop = command.stop.as_deref().map(|stop| {
        let mut of_stop = Vec::new();
        let filled = filled(stop, fetched, "stop_command", &mut of_stop);
        // Its variables are those of the server, and told already.
        missing.extend(
            of_stop
                .into_iter()
                .filter(|told| told.starts_with("stop_command")),
        );
        Box::new(filled)
    });
    (done, missing)
}

fn filled(command: &Command, fetched: &Fetched, key: &str, missing: &mut Vec<String>) -> Command {
    let mut done = Command {
        late: Late::default(),
        ..command.clone()
    };
    for (name, parts) in &command.late.env {
        let (text, whys) = joined(parts, fetched);
        if whys.is_empty() {
            done.env.insert(name.clone(), Secret::new(text));
        } else {
            done.env.remove(name);
            missing.push(format!("env.{name} is not set: {}", whys.join("; ")));
        }
    }
    for (at, parts) in &command.late.args {
        let (text, whys) = joined(parts, fetched);
        if let Some(arg) = done.args.get_mut(*at) {
            *arg = text;
        }
        if !whys.is_empty() {
            missing.push(format!(
                "{key}: a part of argument {} is empty: {}",
                at + 1,
                whys.join("; ")
            ));
        }
    }
    done
}

/// The text, and why parts of it are missing.
fn joined(parts: &[Part], fetched: &Fetched) -> (String, Vec<String>) {
    let (mut text, mut whys) = (String::new(), Vec::new());
    for part in parts {
        let (provider, default) = match part {
            Part::Known(known) => {
                text.push_str(known.reveal());
                continue;
            }
            Part::Fetched { provider, default } => (provider, default),
        };
        let value = fetched
            .iter()
            .find(|(asked, _)| asked == provider)
            .map(|(_, value)| value);
        match (value, default) {
            (Some(Ok(value)), _) => text.push_str(value.reveal()),
            (_, Some(default)) => text.push_str(default.reveal()),
            (Some(Err(why)), None) => whys.push(why.clone()),
            (None, None) => whys.push("nobody was asked".to_owned()),
        }
    }
    (text, whys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(provider: Provider, default: Option<&str>) -> Part {
        Part::Fetched {
            provider,
            default: default.map(Secret::new),
        }
    }

    fn program(name: &str) -> Provider {
        Provider::Program(vec![name.to_owned()])
    }

    #[test]
    fn what_is_missing_is_left_out_and_told_and_the_rest_is_there() {
        let known = |text: &str| Part::Known(Secret::new(text));
        let command = Command {
            program: "x".to_owned(),
            args: vec!["a".to_owned(), "declared".to_owned(), "declared".to_owned()],
            env: ["GOOD", "BAD", "DEFAULT", "PLAIN"]
                .map(|name| (name.to_owned(), Secret::new("declared")))
                .into(),
            late: Late {
                args: [
                    (1, vec![known("--key="), fetched(program("good"), None)]),
                    (2, vec![known("--key="), fetched(program("bad"), None)]),
                ]
                .into(),
                env: [
                    (
                        "GOOD".to_owned(),
                        vec![known("Bearer "), fetched(program("good"), None)],
                    ),
                    ("BAD".to_owned(), vec![fetched(program("bad"), None)]),
                    ("DEFAULT".to_owned(), vec![fetched(program("bad"), Some("none"))]),
                ]
                .into(),
            },
            cwd: None,
            shown: Vec::new(),
            stop: None,
        };
        assert_eq!(providers(&command), [program("bad"), program("good")]);
        let answers = vec![
            (program("good"), Ok(Secret::new("s3cret"))),
            (program("bad"), Err("it is locked".to_owned())),
        ];
        let (done, missing) = assembled(&command, &answers);
        assert_eq!(done.args, ["a", "--key=s3cret", "--key="]);
        let env: Vec<_> = done
            .env
            .iter()
            .map(|(name, value)| (name.as_str(), value.reveal()))
            .collect();
        assert_eq!(
            env,
            [
                ("DEFAULT", "none"),
                ("GOOD", "Bearer s3cret"),
                ("PLAIN", "declared")
            ]
        );
        assert_eq!(
            missing,
            [
                "env.BAD is not set: it is locked",
                "args: a part of argument 3 is empty: it is locked"
            ]
        );
    }

    #[test]
    fn a_file_is_one_secret_without_its_line_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("s");
        let read = |bytes: &[u8]| {
            std::fs::write(&file, bytes).unwrap();
            read_file(&file)
        };
        assert_eq!(read(b"two words \r\n"), Ok("two words ".to_owned()));
        assert_eq!(read(b"a\nb\n"), Ok("a\nb".to_owned()));
        for (bytes, told) in [
            (b"\n".to_vec(), "empty"),
            (b"a\0b".to_vec(), "NUL"),
            (vec![0xff], "UTF-8"),
            (vec![b'a'; 70_000], "bytes"),
        ] {
            assert!(read(&bytes).unwrap_err().contains(told), "{told}");
        }
        assert!(read_file(folder.path()).unwrap_err().contains("plain file"));
        assert!(read_file(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn each_desktop_has_its_own_way_to_its_keyring() {
        assert_eq!(
            keyring("my key", false).join(" "),
            "secret-tool lookup service mcp-wrapper name my key"
        );
        assert_eq!(
            keyring("k", true).join(" "),
            "security find-generic-password -w -s mcp-wrapper -a k"
        );
    }
}
