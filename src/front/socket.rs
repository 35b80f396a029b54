//! Unix sockets in the data folder: bound for this user only, found also where the path is long, and made again
//! when somebody has deleted them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::time::{Interval, MissedTickBehavior};

use crate::place::FileId;

/// The control API.
pub const CONTROL: &str = "control.sock";
/// The line door.
pub const LINES: &str = "mcp.sock";

/// `sockaddr_un` holds 108 bytes with the closing NUL (man 7 unix).
const PATH_BYTES_MAX: usize = 100;

/// How often is looked whether a socket is still there.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Connections that cannot be accepted now are tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// A socket that takes clients in, for as long as its folder is there.
#[derive(Debug)]
pub struct Door {
    folder: PathBuf,
    /// The folder it was opened in; another one under the same name may be another daemon's.
    home: FileId,
    name: &'static str,
    listener: UnixListener,
    here: FileId,
    looks: Interval,
    /// That it cannot be made again was told: once is enough.
    is_told: bool,
}

impl Door {
    /// Opens a socket in a folder; one that a dead daemon has left is replaced. The caller holds the daemon's lock.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(folder: &Path, name: &'static str) -> std::io::Result<Self> {
        let listener = bind(folder, name)?;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            home: FileId::of(folder)?,
            here: FileId::of(&folder.join(name))?,
            folder: folder.to_owned(),
            name,
            listener,
            looks,
            is_told: false,
        })
    }

    /// The next client of this user, or root's.
    ///
    /// # Cancel safety
    /// Safe: a client is handed over or still waits.
    pub async fn accept(&mut self) -> UnixStream {
        loop {
            let accepted = tokio::select! {
                // Who has found the old socket is let in before a new one takes its place.
                biased;
                accepted = self.listener.accept() => accepted,
                _ = self.looks.tick() => {
                    self.look();
                    continue;
                }
            };
            match accepted {
                Ok((client, _)) if is_ours(&client) => return client,
                Ok(_) => tracing::warn!(socket = self.name, "a client of another user was refused"),
                Err(error) => {
                    tracing::warn!(socket = self.name, %error, "a client could not be taken in");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Makes the socket again when it is gone.
    fn look(&mut self) {
        if self.here.is_at(&self.folder.join(self.name)) || !self.home.is_at(&self.folder) {
            return;
        }
        let made = bind(&self.folder, self.name)
            .and_then(|listener| Ok((listener, FileId::of(&self.folder.join(self.name))?)));
        match made {
            Ok((listener, here)) => {
                (self.listener, self.here, self.is_told) = (listener, here, false);
                tracing::warn!(socket = self.name, "the socket was taken away; it was made again");
            }
            Err(error) if !self.is_told => {
                self.is_told = true;
                tracing::error!(socket = self.name, %error, "the socket was taken away and cannot be made again");
            }
            Err(_told_before) => {}
        }
    }
}

fn bind(folder: &Path, name: &str) -> std::io::Result<UnixListener> {
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
fn is_ours(stream: &UnixStream) -> bool {
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

    #[tokio::test]
    async fn a_socket_that_was_taken_away_is_made_again_but_not_in_another_folder() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = scratch.path().join("data");
        std::fs::create_dir(&folder).unwrap();
        let mut door = Door::open(&folder, LINES).unwrap();
        let found = async |door: &mut Door| {
            let reaching = async {
                loop {
                    match connect(&folder, LINES).await {
                        Ok(client) => return client,
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
            };
            let both = async { tokio::join!(door.accept(), reaching) };
            tokio::time::timeout(LOOK_EVERY * 3, both).await.is_ok()
        };
        assert!(found(&mut door).await);
        std::fs::remove_file(folder.join(LINES)).unwrap();
        assert!(found(&mut door).await, "made again");
        std::fs::write(folder.join("other"), "").unwrap();
        std::fs::rename(folder.join("other"), folder.join(LINES)).unwrap();
        assert!(found(&mut door).await, "what is no socket of ours is replaced");
        std::fs::rename(&folder, scratch.path().join("moved")).unwrap();
        std::fs::create_dir(&folder).unwrap();
        assert!(!found(&mut door).await, "another folder may be another daemon's");
    }
}
