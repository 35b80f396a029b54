//! What a process has used, from `/proc`.

use std::fs;

/// Clock ticks of `/proc/PID/stat` in a second: what Linux shows to programs, whatever the kernel counts in.
const TICKS_IN_A_SECOND: f64 = 100.0;

/// Processor time so far, seconds, to a hundredth.
pub fn processor(pid: u32) -> Result<f64, String> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    // The name may hold anything but the last bracket.
    let rest = stat
        .rsplit_once(')')
        .map(|(_name, rest)| rest)
        .unwrap_or_default();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok());
    let used = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
    used.map(|ticks| ticks / TICKS_IN_A_SECOND)
        .ok_or_else(|| format!("{path} is not understood"))
}

/// Memory that is its own share, KiB.
pub fn memory(pid: u32) -> Result<u64, String> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").trim().parse().ok())
        .ok_or_else(|| format!("{path} is not understood"))
}

/// Times the process was taken off a processor and put on one again, by its own wish or not, over all its threads.
pub fn switches(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.path().join("status")).ok());
    statuses
        .flat_map(|status| {
            let of = |line: &str| {
                line.rsplit_once(':')
                    .and_then(|(_key, n)| n.trim().parse::<u64>().ok())
            };
            status
                .lines()
                .filter(|line| line.contains("ctxt_switches"))
                .filter_map(of)
                .collect::<Vec<_>>()
        })
        .sum()
}
