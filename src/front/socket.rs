//! Unix sockets in the data folder: bound for this user only, found also where the path is long.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The control API.
pub const CONTROL: &str = "control.sock";
/// The line door.
pub const LINES: &str = "mcp.sock";

/// `sockaddr_un` holds 108 bytes with the closing NUL (man 7 unix).
const PATH_BYTES_MAX: usize = 100;

/// Binds a socket in a folder; one that a dead daemon has left is replaced. The caller holds the daemon's lock.
///
/// # Errors
/// What the system says.
pub fn bind(folder: &Path, name: &str) -> std::io::Result<UnixListener> {
    let path = folder.join(name);
    match std::fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let short = Short::of(folder, name)?;
    let listener = UnixListener::bind(&short.path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connects to a socket in a folder.
///
/// # Errors
/// What the system says; `NotFound` and `ConnectionRefused` mean that no daemon is there.
pub async fn connect(folder: &Path, name: &str) -> std::io::Result<UnixStream> {
    let short = Short::of(folder, name)?;
    UnixStream::connect(&short.path).await
}

/// Whether the process at the other end is ours, or root's.
pub fn is_ours(stream: &UnixStream) -> bool {
    let ours = nix::unistd::geteuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == ours || peer.uid() == 0)
}

/// A path that is short enough: through the open folder where it is not.
struct Short {
    path: PathBuf,
    /// Kept open: the path leads through it.
    _folder: Option<std::fs::File>,
}

impl Short {
    fn of(folder: &Path, name: &str) -> std::io::Result<Self> {
        use std::os::fd::AsRawFd;
        let path = folder.join(name);
        if path.as_os_str().len() <= PATH_BYTES_MAX || !cfg!(target_os = "linux") {
            return Ok(Self { path, _folder: None });
        }
        let folder = std::fs::File::open(folder)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()));
        Ok(Self {
            path,
            _folder: Some(folder),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_found_in_a_folder_with_a_long_path_and_is_for_its_user_only() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("x".repeat(120));
        std::fs::create_dir(&folder).unwrap();
        for _again in 0..2 {
            let listener = bind(&folder, CONTROL).unwrap();
            let (client, server) = tokio::join!(connect(&folder, CONTROL), listener.accept());
            assert!(is_ours(&client.unwrap()) && is_ours(&server.unwrap().0));
        }
        let mode = std::fs::metadata(folder.join(CONTROL))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
