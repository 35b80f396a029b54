//! Which file a command means, and which environment it gets.
//!
//! A child sees a small environment: the variables below and those declared for it. Secrets that lie around in
//! the daemon's environment are not handed to every server.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::spec::Command;

/// The name that always means this very program, so that the demo children need no installation.
pub const OURSELVES: &str = "mcp-wrapper";

/// Variables that every child gets from the daemon's environment, if they are set there.
const PASSED_ON: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "TERM",
    // Behind a proxy or a private authority nothing can be downloaded without these.
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];
/// Beginnings of names that are passed on alike.
const PASSED_ON_PREFIXES: &[&str] = &["LC_", "XDG_"];

/// The environment of a child: what is passed on, the PATH to search, and what is declared, which wins.
pub fn environment(
    inherited: impl Iterator<Item = (OsString, OsString)>,
    path: &str,
    command: &Command,
) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<OsString, OsString> = inherited.filter(|(name, _)| is_passed_on(name)).collect();
    env.insert("PATH".into(), path.into());
    env.extend(
        command
            .env
            .iter()
            .map(|(name, value)| (name.into(), value.reveal().into())),
    );
    env
}

fn is_passed_on(name: &OsString) -> bool {
    let Some(name) = name.to_str() else { return false };
    PASSED_ON.contains(&name) || PASSED_ON_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Finds the file that a command means.
///
/// # Errors
/// A sentence that names what was looked for, and where.
pub fn find(command: &Command, path: &str) -> Result<PathBuf, String> {
    let program = command.program.as_str();
    if let Some(cwd) = &command.cwd {
        check_folder(cwd)?;
    }
    if program == OURSELVES {
        return std::env::current_exe().map_err(|error| format!("the file of mcp-wrapper itself: {error}"));
    }
    if program.contains('/') {
        let base = command.cwd.clone().unwrap_or_default();
        return runnable(&base.join(program)).map_err(|why| format!("`{program}`: {why}"));
    }
    let mut refused = None;
    for folder in path.split(':').filter(|folder| !folder.is_empty()) {
        match runnable(&Path::new(folder).join(program)) {
            Ok(file) => return Ok(file),
            Err(NotRunnable::Missing) => {}
            Err(why @ (NotRunnable::NotExecutable | NotRunnable::Other(_))) => {
                refused.get_or_insert_with(|| format!("`{folder}/{program}`: {why}"));
            }
        }
    }
    Err(refused.unwrap_or_else(|| not_found(program, path)))
}

/// The sentence for a program that is in none of the folders.
pub fn not_found(program: &str, path: &str) -> String {
    format!("`{program}`: command not found in PATH ({path})")
}

fn check_folder(folder: &Path) -> Result<(), String> {
    let shown = folder.display();
    match std::fs::metadata(folder) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(format!("its folder `{shown}` (cwd) is a file")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("its folder `{shown}` (cwd) does not exist"))
        }
        Err(error) => Err(format!("its folder `{shown}` (cwd): {error}")),
    }
}

#[derive(Debug, thiserror::Error)]
enum NotRunnable {
    #[error("no such file")]
    Missing,
    #[error("the file is not executable (permission denied)")]
    NotExecutable,
    #[error("{0}")]
    Other(std::io::Error),
}

fn runnable(file: &Path) -> Result<PathBuf, NotRunnable> {
    match std::fs::metadata(file) {
        Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => Ok(file.to_owned()),
        Ok(_) => Err(NotRunnable::NotExecutable),
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            Err(NotRunnable::Missing)
        }
        Err(error) => Err(NotRunnable::Other(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::spec::Secret;

    fn command(program: &str, cwd: Option<&str>) -> Command {
        Command {
            program: program.to_owned(),
            args: Vec::new(),
            env: BTreeMap::from([("DECLARED".to_owned(), Secret::new("x"))]),
            late: crate::config::spec::Late::default(),
            cwd: cwd.map(PathBuf::from),
            shown: Vec::new(),
            stop: None,
        }
    }

    #[test]
    fn a_command_is_looked_up_in_the_path() {
        assert_eq!(
            find(&command("sh", None), "/nowhere:/bin").unwrap(),
            Path::new("/bin/sh")
        );
        let told = find(&command("no-such-thing", None), "/bin").unwrap_err();
        assert_eq!(told, "`no-such-thing`: command not found in PATH (/bin)");
    }

    #[test]
    fn a_wrong_folder_and_a_file_that_cannot_run_are_named_as_such() {
        assert!(
            find(&command("sh", Some("/nowhere")), "/bin")
                .unwrap_err()
                .contains("folder `/nowhere` (cwd)")
        );
        assert!(
            find(&command("sh", Some("/bin/sh")), "/bin")
                .unwrap_err()
                .contains("is a file")
        );
        assert!(
            find(&command("/etc/passwd", None), "")
                .unwrap_err()
                .contains("not executable")
        );
        assert!(
            find(&command("/no/such", None), "")
                .unwrap_err()
                .contains("no such file")
        );
    }

    #[test]
    fn a_child_gets_the_small_environment_and_what_is_declared() {
        let inherited = [
            ("HOME", "/h"),
            ("AWS_SECRET", "s"),
            ("LC_ALL", "C"),
            ("DECLARED", "other"),
        ];
        let inherited = inherited
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()));
        let env = environment(inherited, "/bin", &command("sh", None));
        let names: Vec<_> = env.keys().filter_map(|name| name.to_str()).collect();
        assert_eq!(names, ["DECLARED", "HOME", "LC_ALL", "PATH"]);
        assert_eq!(env.get(&OsString::from("DECLARED")), Some(&OsString::from("x")));
    }
}
