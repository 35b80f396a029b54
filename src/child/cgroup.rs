//! A cgroup for each server, where the daemon was given a part of the tree of cgroups (version 2) to itself: by
//! `Delegate=yes` of systemd, or by a container. Then the kernel itself keeps a whole tree to its limits, and ends it
//! at one stroke.
//!
//! Always optional. Where there is none, limits are measured (`limits`) and trees are ended process by process
//! (`tree`); where there is one, both happen all the same, and this is the last word.
//!
//! Source: the kernel's `admin-guide/cgroup-v2`. But for the root of the tree a cgroup has processes or controlled children,
//! never both: so the daemon and the leashes move to a leaf of their own first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The leaf of the daemon and of the leashes.
const OURS: &str = "daemon";
/// What the leaf of a server begins with.
const LEAF: &str = "server-";
/// Of which the kernel keeps the limits of a server; either may be missing.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];
/// The kernel's limit is one and a half times the declared one: what grows slowly is seen before, and may finish its
/// calls. What grows faster than it is measured is stopped here.
const GROSS_TENTHS: u64 = 15;
/// The kernel counts threads, the declared limit counts processes.
const N_THREADS_PER_PROCESS: u64 = 32;

/// The part of the tree of cgroups that is the daemon's own.
#[derive(Debug)]
pub struct Cgroups {
    folder: PathBuf,
}

/// The cgroup of one server. Goes with its last owner, if it is empty by then.
#[derive(Debug)]
pub(super) struct Leaf {
    folder: PathBuf,
}

impl Cgroups {
    /// Takes the cgroup in which we are, if it was given to us alone. Call it before any process is made.
    pub fn take() -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let cgroups = Self {
            folder: folder_of(&mounts, path_of(&own)?)?,
        };
        let taken = cgroups.settle();
        if let Err(error) = &taken {
            tracing::debug!(%error, folder = %cgroups.folder.display(), "this cgroup is not ours alone");
        }
        taken.ok().map(|()| cgroups)
    }

    fn settle(&self) -> io::Result<()> {
        // The tree's own root, and one with other processes in it, belong to others too.
        let alone = fs::read_to_string(self.folder.join("cgroup.procs"))?;
        if !self.folder.join("cgroup.type").exists() || alone.trim() != std::process::id().to_string() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if !self.is_delegated() {
            return Err(io::Error::other(
                "it is the service manager's own: `Delegate=yes` is missing",
            ));
        }
        make(&self.folder.join(OURS))?;
        enter(&self.folder.join(OURS))?;
        for controller in self.controllers() {
            // Without it the limit is measured, as everywhere.
            if let Err(error) = self.control('+', controller) {
                tracing::debug!(%error, controller, "a controller cannot be used");
            }
        }
        self.sweep();
        Ok(())
    }

    /// Whether whoever manages cgroups here leaves this one alone. Where that is systemd it marks those that it does, and
    /// root could write to the others too (<https://systemd.io/CGROUP_DELEGATION>).
    fn is_delegated(&self) -> bool {
        let is_marked = |name: &str| {
            let mut value = [0; 2];
            let n = rustix::fs::getxattr(&self.folder, name, &mut value);
            n.is_ok_and(|n| value.get(..n) == Some(b"1"))
        };
        !Path::new("/run/systemd/system").exists()
            || ["user.delegate", "trusted.delegate"].into_iter().any(is_marked)
            || !nix::unistd::geteuid().is_root()
    }

    /// Gives the cgroup back as it was found, so that the next daemon can be started in it. Every server has to be gone.
    pub fn give_back(&self) {
        self.sweep();
        for controller in self.controllers() {
            self.control('-', controller).ok();
        }
        let left = enter(&self.folder).and_then(|()| fs::remove_dir(self.folder.join(OURS)));
        if let Err(error) = left {
            tracing::debug!(%error, "the daemon's own cgroup stays");
        }
    }

    /// A cgroup for one server with its limits: bytes, and processes.
    pub(super) fn leaf(&self, token: &str, memory_max: Option<u64>, processes_max: u32) -> io::Result<Leaf> {
        // A token is `<daemon>/<server>/<generation>/<serial>`.
        let name: Vec<&str> = token.split('/').skip(1).collect();
        let leaf = Leaf {
            folder: self.folder.join(format!("{LEAF}{}", name.join("-"))),
        };
        make(&leaf.folder)?;
        // What the kernel does not offer is measured.
        if let Some(limit) = memory_max {
            leaf.write(
                "memory.max",
                &(limit.saturating_mul(GROSS_TENTHS) / 10).to_string(),
            )
            .ok();
            // A server that lost a helper to the kernel is no server any more.
            leaf.write("memory.oom.group", "1").ok();
        }
        let n_tasks = u64::from(processes_max).saturating_mul(N_THREADS_PER_PROCESS);
        leaf.write("pids.max", &n_tasks.to_string()).ok();
        Ok(leaf)
    }

    fn controllers(&self) -> impl Iterator<Item = &'static str> {
        let there = fs::read_to_string(self.folder.join("cgroup.controllers")).unwrap_or_default();
        let is_there = move |wanted: &&str| there.split_whitespace().any(|one| one == *wanted);
        CONTROLLERS.into_iter().filter(is_there)
    }

    fn control(&self, sign: char, controller: &str) -> io::Result<()> {
        fs::write(
            self.folder.join("cgroup.subtree_control"),
            format!("{sign}{controller}"),
        )
    }

    /// Removes what a daemon that was killed has left, as far as it is empty.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let is_leaf = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(LEAF);
        for leaf in entries.flatten().filter(is_leaf) {
            fs::remove_dir(leaf.path()).ok();
        }
    }
}

impl Leaf {
    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Ends all that is in it at one stroke; nothing can fork away from that.
    pub(super) fn kill(&self) {
        kill(&self.folder);
    }

    /// Whether anybody lives in it.
    pub(super) fn is_empty(&self) -> bool {
        fs::read_to_string(self.folder.join("cgroup.procs")).is_ok_and(|members| members.trim().is_empty())
    }

    /// Whether the kernel has killed in it for want of memory.
    pub(super) fn was_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        n_oom_kills(&events) > 0
    }

    fn write(&self, file: &str, text: &str) -> io::Result<()> {
        fs::write(self.folder.join(file), text)
    }
}

impl Drop for Leaf {
    fn drop(&mut self) {
        // What is not empty is swept with the daemon's end.
        fs::remove_dir(&self.folder).ok();
    }
}

/// Ends all in the cgroup of a server at one stroke. Kernels before 5.14 cannot.
pub(super) fn kill(leaf: &Path) {
    fs::write(leaf.join("cgroup.kill"), "1").ok();
}

/// Makes something inside the cgroup of a server, and steps out again: nothing that a process does between its first
/// breath and a move from outside can be outside.
pub(super) fn inside<T>(leaf: Option<&Path>, make: impl FnOnce() -> T) -> T {
    let Some(leaf) = leaf else { return make() };
    // Should it fail, the server runs as it does where there are no cgroups.
    enter(leaf).ok();
    let made = make();
    let home = leaf.parent().map(|folder| folder.join(OURS));
    home.and_then(|home| enter(&home).ok());
    made
}

fn enter(cgroup: &Path) -> io::Result<()> {
    // 0 is whoever writes it.
    fs::write(cgroup.join("cgroup.procs"), "0")
}

fn make(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Where we are in the tree of version 2, by `/proc/self/cgroup`: its line begins with `0::`.
fn path_of(own: &str) -> Option<&str> {
    own.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The folder of a cgroup, by `/proc/self/mountinfo` (man 5 `proc_pid_mountinfo`): the fourth and fifth fields of a line
/// are what is mounted and where, and after ` - ` comes the kind of file system.
fn folder_of(mounts: &str, path: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        if kind.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let below = Path::new(path).strip_prefix(root).ok()?;
        Some(Path::new(at).join(below))
    })
}

/// From `memory.events`: a line `oom_kill 2`.
fn n_oom_kills(events: &str) -> u64 {
    let n = events.lines().find_map(|line| line.strip_prefix("oom_kill "));
    n.and_then(|n| n.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        31 24 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        35 24 0:28 /user.slice /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

    #[test]
    fn our_place_in_the_tree_is_found() {
        let own = "8:pids:/x\n0::/user.slice/mcp.service\n";
        assert_eq!(path_of(own), Some("/user.slice/mcp.service"));
        assert_eq!(path_of("8:pids:/x\n"), None);
        let folder = folder_of(MOUNTS, "/user.slice/mcp.service");
        assert_eq!(folder, Some(PathBuf::from("/sys/fs/cgroup/mcp.service")));
        assert_eq!(folder_of(MOUNTS, "/system.slice"), None);
        assert_eq!(folder_of("nonsense\n - \n", "/"), None);
    }

    #[test]
    fn a_kill_for_want_of_memory_is_read() {
        assert_eq!(n_oom_kills("low 0\noom 1\noom_kill 2\noom_group_kill 1\n"), 2);
        assert_eq!(n_oom_kills(""), 0);
    }
}
