//! Deeds that use what a server may be given little of: memory, processes, files, the processor.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// What is never given back.
static LEAKED: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
static OPEN: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Does the deed, `n` times where that makes sense, and tells what to answer. None when it is no deed of these.
pub(crate) fn run(deed: &str, n: u64) -> Option<String> {
    match deed {
        // `n` MiB, each page of them written to.
        "leak" => {
            let n_bytes = usize::try_from(n << 20).expect("a size that fits");
            LEAKED.lock().unwrap().push(vec![1; n_bytes]);
            Some(format!("{n} MiB"))
        }
        // `n` processes that stay.
        "fork_many" => {
            for _ in 0..n {
                let sleep = Command::new("sleep")
                    .arg("1000")
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .spawn();
                drop(sleep.expect("`sleep` can be started"));
            }
            Some(format!("{n} processes"))
        }
        // Up to `n` open files; the answer is how many there was room for.
        "open_many" => {
            let mut open = OPEN.lock().unwrap();
            let opened: Vec<File> = (0..n).map_while(|_| File::open("/dev/null").ok()).collect();
            let n_opened = opened.len();
            open.extend(opened);
            // Room for what the server itself needs.
            let n_left = open.len().saturating_sub(3);
            open.truncate(n_left);
            Some(n_opened.to_string())
        }
        // Answered first, then it works for `n` milliseconds, and reads nothing meanwhile.
        "burn" => Some(format!("{n} ms of work")),
        "limits" => {
            let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is there");
            let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
            let nice = fields
                .split(' ')
                .nth(16)
                .expect("the 19th field is the nice value")
                .to_owned();
            let (files, core) = (limit("Max open files"), limit("Max core file size"));
            Some(format!("files {files} core {core} nice {nice}"))
        }
        _ => None,
    }
}

/// The soft and the hard limit, as the kernel tells them.
fn limit(name: &str) -> String {
    let limits = std::fs::read_to_string("/proc/self/limits").expect("/proc is there");
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    let mut words = line.expect("every limit has its line").split_whitespace();
    let mut word = || words.next().unwrap_or_default();
    format!("{} {}", word(), word())
}

/// Uses the processor for so long.
pub(crate) fn burn(ms: u64) {
    let end = Instant::now() + Duration::from_millis(ms);
    let mut n = 0_u64;
    while Instant::now() < end {
        n = std::hint::black_box(n.wrapping_mul(31).wrapping_add(7));
    }
}
