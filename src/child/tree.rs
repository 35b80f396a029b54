//! Which processes there are, and which of them belong together: read from `/proc`, decided by pure functions.
//!
//! Three marks make a process ours: it descends from one of ours, it is in the session of one, or it bears a token
//! in its environment. A process may shed the second and the third; the first only by outliving its parents, and
//! then it moves to the nearest subreaper above it, which is ours again.

use std::collections::HashSet;
use std::io::{self, Read};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// The variable by which a server's processes are known: `<daemon>/<server>/<generation>/<serial>`.
pub const CHILD: &str = "MCP_WRAPPER_CHILD";
/// The same for the leash above them, which is not to be taken for one of them.
pub const LEASH: &str = "MCP_WRAPPER_LEASH";
/// No environment is larger than this: a third of what the kernel takes at most, bytes.
const ENVIRONMENT_BYTES_MAX: u64 = 2 << 20;

/// One process as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub pid: i32,
    /// Its parent's.
    pub parent: i32,
    /// Its session's.
    pub session: i32,
    /// When it began, in ticks since the machine did: with the number, a name that is never given twice.
    pub start: u64,
    /// It has ended, and its parent has not looked yet.
    pub is_dead: bool,
}

/// Who bears a token, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// A process of a server.
    Child(String),
    /// The leash above such.
    Leash(String),
}

/// All processes that can be seen now; none where `/proc` cannot be read.
pub fn all() -> Vec<Seen> {
    look().unwrap_or_default()
}

/// All processes there are now.
///
/// # Errors
/// `/proc` or a process in it cannot be read, as when no more files may be open: who is missing need not be gone.
pub fn look() -> io::Result<Vec<Seen>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        match std::fs::read(format!("/proc/{pid}/stat")) {
            Ok(stat) => all.extend(parse(pid, &String::from_utf8_lossy(&stat))),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Whether this error of a file in `/proc` says that its process has ended meanwhile.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

/// One process, if it is there.
pub fn one(pid: i32) -> Option<Seen> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(pid, &String::from_utf8_lossy(&stat))
}

/// The state of a process as `ps` shows it, if it is there.
pub fn state_of(pid: i32) -> Option<char> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Reads one line of `/proc/PID/stat` (man 5 `proc_pid_stat`): after the name, which may contain anything, in
/// parentheses come state, parent, group, session; the start is the 20th.
fn parse(pid: i32, stat: &str) -> Option<Seen> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ');
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    let start = fields.nth(15)?.parse().ok()?;
    Some(Seen {
        pid,
        parent,
        session,
        start,
        is_dead: matches!(state, "Z" | "X" | "x"),
    })
}

/// The chosen ones and all that descend from them.
pub fn with_descendants(all: &[Seen], is_chosen: impl Fn(&Seen) -> bool) -> Vec<Seen> {
    let mut inside: HashSet<i32> = all
        .iter()
        .filter(|seen| is_chosen(seen))
        .map(|seen| seen.pid)
        .collect();
    loop {
        let n_before = inside.len();
        for seen in all {
            if inside.contains(&seen.parent) {
                inside.insert(seen.pid);
            }
        }
        if inside.len() == n_before {
            break;
        }
    }
    all.iter()
        .filter(|seen| inside.contains(&seen.pid))
        .copied()
        .collect()
}

/// All that descend from a process, without it.
pub fn below(all: &[Seen], root: i32) -> Vec<Seen> {
    let mut found = with_descendants(all, |seen| seen.pid == root);
    found.retain(|seen| seen.pid != root);
    found
}

/// The token in a process's environment. None when it has none, or we may not look.
pub fn token_of(pid: i32) -> Option<Token> {
    let file = std::fs::File::open(format!("/proc/{pid}/environ")).ok()?;
    let mut environment = Vec::new();
    file.take(ENVIRONMENT_BYTES_MAX)
        .read_to_end(&mut environment)
        .ok()?;
    token_in(&environment)
}

fn token_in(environment: &[u8]) -> Option<Token> {
    let value = |name: &str| {
        let mut variables = environment.split(|byte| *byte == 0);
        let value = variables.find_map(|one| one.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    value(LEASH)
        .map(Token::Leash)
        .or_else(|| value(CHILD).map(Token::Child))
}

/// Signals a process, and never another one that has got its number meanwhile.
pub fn signal(seen: &Seen, signals: &[Signal]) {
    let Some(pid) = Pid::from_raw(seen.pid) else {
        return;
    };
    let Ok(held) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    // The descriptor holds whoever has the number now; from here on that cannot change.
    if one(seen.pid).is_none_or(|now| now.start != seen.start) {
        return;
    }
    for signal in signals {
        match pidfd_send_signal(&held, *signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::error!(%error, pid = seen.pid, ?signal, "cannot signal a process"),
        }
    }
}

/// Asks all of them to go. SIGCONT too: a stopped process gets SIGTERM only when it continues.
pub fn terminate(all: &[Seen]) {
    for seen in all.iter().filter(|seen| !seen.is_dead) {
        signal(seen, &[Signal::TERM, Signal::CONT]);
    }
}

/// Ends all of them. Those that fork at this very moment need another look.
pub fn kill(all: &[Seen]) {
    for seen in all.iter().filter(|seen| !seen.is_dead) {
        signal(seen, &[Signal::KILL]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pid: i32, parent: i32) -> Seen {
        Seen {
            pid,
            parent,
            session: 1,
            start: 1,
            is_dead: false,
        }
    }

    #[test]
    fn a_stat_line_is_read_even_when_the_name_has_parentheses() {
        let line = "7 (a) b) S 3 4 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 8812 9 10";
        let found = parse(7, line).unwrap();
        assert_eq!((found.parent, found.session, found.start), (3, 5, 8812));
        assert!(!found.is_dead);
        assert!(parse(7, &line.replace(") S", ") Z")).unwrap().is_dead);
        assert_eq!(parse(7, "7 (a) S 3"), None);
    }

    #[test]
    fn descendants_are_found_in_whatever_order_they_are_listed() {
        // Numbers wrap around: a child may have a smaller one than its parent.
        let all = [seen(2, 9), seen(9, 5), seen(5, 1), seen(6, 1), seen(1, 0)];
        let pids = |found: Vec<Seen>| found.iter().map(|seen| seen.pid).collect::<Vec<_>>();
        assert_eq!(pids(below(&all, 5)), [2, 9]);
        assert_eq!(pids(with_descendants(&all, |seen| seen.pid == 9)), [2, 9]);
        assert!(below(&all, 77).is_empty());
    }

    #[test]
    fn a_token_is_found_among_other_variables_and_a_leash_is_told_from_a_child() {
        let child = Some(Token::Child("d/a/1/1".to_owned()));
        assert_eq!(token_in(b"A=1\0MCP_WRAPPER_CHILD=d/a/1/1\0B=2\0"), child);
        assert_eq!(token_in(b"XMCP_WRAPPER_CHILD=d\0MCP_WRAPPER_CHILDREN=d\0"), None);
        let leash = Some(Token::Leash("d/a/1/1".to_owned()));
        assert_eq!(token_in(b"MCP_WRAPPER_CHILD=o\0MCP_WRAPPER_LEASH=d/a/1/1"), leash);
    }

    #[test]
    fn a_process_is_signalled_and_never_its_successor() {
        let mut sleep = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let found = one(i32::try_from(sleep.id()).unwrap()).unwrap();
        let other = Seen {
            start: found.start + 1,
            ..found
        };
        kill(&[other]);
        assert!(one(found.pid).is_some_and(|now| !now.is_dead));
        kill(&[found]);
        assert_eq!(
            std::os::unix::process::ExitStatusExt::signal(&sleep.wait().unwrap()),
            Some(9)
        );
    }
}
