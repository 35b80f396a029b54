//! Limits of the system that the daemon sets for itself, and so for its children.

/// A process that crashes leaves no core file: one of ours, or of a child, would hold secrets and fill the disk.
///
/// Only the soft limit is set; a server that wants one can raise it.
pub(super) fn no_core_files() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let maximum = getrlimit(Resource::Core).maximum;
        let current = Some(0);
        if let Err(error) = setrlimit(Resource::Core, Rlimit { current, maximum }) {
            tracing::warn!(%error, "processes that crash may leave core files");
        }
    }
}
