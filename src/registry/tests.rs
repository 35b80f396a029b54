//! The registry through its handle, with real files and real second connections.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::api::DefinitionOrigin::{Cli, File, Import};
use crate::config::RawServer;
use crate::event::{SupervisionEvent, What};
use crate::ids::{Generation, ServerName};

fn name(text: &str) -> ServerName {
    ServerName::parse(text).unwrap()
}

fn raw(command: &str) -> RawServer {
    RawServer {
        command: Some(command.to_owned()),
        ..RawServer::default()
    }
}

async fn fresh() -> (TempDir, Registry) {
    let folder = tempfile::tempdir().unwrap();
    let registry = Registry::open(folder.path()).await.unwrap();
    (folder, registry)
}

/// Name, command, whether wanted, whether shadowed.
async fn listed(registry: &Registry) -> Vec<(String, String, bool, bool)> {
    let servers = registry.servers().await.unwrap();
    let row = |d: Declared| {
        (
            d.name.to_string(),
            d.raw.command.unwrap_or_default(),
            d.enabled,
            d.shadowed,
        )
    };
    servers.into_iter().map(row).collect()
}

async fn names(registry: &Registry) -> Vec<String> {
    listed(registry)
        .await
        .into_iter()
        .map(|(name, ..)| name)
        .collect()
}

fn event(server: &str, at_ms: u64) -> SupervisionEvent {
    SupervisionEvent {
        at_ms,
        server: name(server),
        generation: Generation(1),
        what: What::Stopped,
    }
}

/// Holds the write lock from a second connection until told to let go; returns when it holds it.
fn lock_from_outside(file: &Path) -> (mpsc::Sender<()>, std::thread::JoinHandle<()>) {
    let (let_go, told) = mpsc::channel();
    let (holds, held) = mpsc::channel();
    let file = file.to_owned();
    let holder = std::thread::spawn(move || {
        let connection = Connection::open(file).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        holds.send(()).unwrap();
        // An error is as good: then the test is over.
        told.recv().ok();
        connection.execute_batch("ROLLBACK").unwrap();
    });
    held.recv().unwrap();
    (let_go, holder)
}

#[tokio::test]
async fn definitions_are_stored_replaced_and_removed() {
    let (_folder, registry) = fresh().await;
    assert_eq!(
        registry.put(Cli, &name("b"), &raw("one")).await.unwrap(),
        Put::Added
    );
    assert_eq!(
        registry.put(Import, &name("a"), &raw("two")).await.unwrap(),
        Put::Added
    );
    assert_eq!(
        registry.put(Cli, &name("b"), &raw("three")).await.unwrap(),
        Put::Replaced
    );
    let servers = registry.servers().await.unwrap();
    let seen: Vec<_> = servers
        .iter()
        .map(|d| (d.name.as_str(), d.origin, d.raw.clone()))
        .collect();
    assert_eq!(seen, [("b", Cli, raw("three")), ("a", Import, raw("two"))]);
    assert_eq!(registry.remove(&name("b")).await.unwrap(), Removed::Gone);
    assert_eq!(registry.remove(&name("b")).await.unwrap(), Removed::NotThere);
    assert_eq!(names(&registry).await, ["a"]);
}

#[tokio::test]
async fn the_file_shadows_a_users_server_without_losing_it() {
    let (_folder, registry) = fresh().await;
    registry.put(Cli, &name("git"), &raw("mine")).await.unwrap();
    registry.put(Cli, &name("own"), &raw("own")).await.unwrap();
    registry
        .mirror_file(&[(name("z"), raw("z")), (name("git"), raw("files"))])
        .await
        .unwrap();
    let row = |name: &str, command: &str, shadowed| (name.to_owned(), command.to_owned(), true, shadowed);
    assert_eq!(
        listed(&registry).await,
        [
            row("z", "z", false),
            row("git", "files", false),
            row("own", "own", false),
            row("git", "mine", true)
        ]
    );
    assert_eq!(registry.servers().await.unwrap().first().unwrap().origin, File);
    assert_eq!(registry.remove(&name("z")).await.unwrap(), Removed::InFile);
    assert_eq!(
        registry.put(Cli, &name("z"), &raw("late")).await.unwrap(),
        Put::ShadowedByFile
    );

    registry.mirror_file(&[]).await.unwrap();
    assert_eq!(
        listed(&registry).await,
        [
            row("git", "mine", false),
            row("own", "own", false),
            row("z", "late", false)
        ]
    );
}

#[tokio::test]
async fn enabling_wins_over_the_definition_until_the_name_is_gone_or_put_anew() {
    let (_folder, registry) = fresh().await;
    let off = RawServer {
        enabled: Some(false),
        ..raw("x")
    };
    registry.mirror_file(&[(name("a"), off.clone())]).await.unwrap();
    assert!(!listed(&registry).await[0].2);
    assert!(registry.set_enabled(&name("a"), true).await.unwrap());
    assert!(listed(&registry).await[0].2);
    assert!(!registry.set_enabled(&name("nobody"), true).await.unwrap());

    // Gone from the file and back: the earlier word is forgotten.
    registry.mirror_file(&[]).await.unwrap();
    registry.mirror_file(&[(name("a"), off.clone())]).await.unwrap();
    assert!(!listed(&registry).await[0].2);

    registry.put(Cli, &name("b"), &raw("x")).await.unwrap();
    registry.set_enabled(&name("b"), false).await.unwrap();
    registry.put(Cli, &name("b"), &raw("y")).await.unwrap();
    assert!(listed(&registry).await[1].2);
}

#[tokio::test]
async fn the_revision_grows_with_every_change_and_only_then() {
    let (folder, registry) = fresh().await;
    let other = Registry::open(folder.path()).await.unwrap();
    let mut last = registry.revision().await.unwrap();
    let file = [(name("a"), raw("x")), (name("b"), raw("y"))];
    let swapped = [file[1].clone(), file[0].clone()];
    macro_rules! grows {
        ($change:expr, $expected:expr) => {
            $change.await.unwrap();
            let now = registry.revision().await.unwrap();
            assert_eq!(now > last, $expected, "{}", stringify!($change));
            last = now;
        };
    }
    grows!(other.mirror_file(&file), true);
    grows!(other.mirror_file(&file), false);
    grows!(other.mirror_file(&swapped), true);
    grows!(other.put(Cli, &name("c"), &raw("z")), true);
    grows!(other.set_enabled(&name("a"), false), true);
    grows!(other.set_enabled(&name("a"), false), false);
    grows!(other.remove(&name("nobody")), false);
    grows!(other.remove(&name("c")), true);
    grows!(other.append(&[event("a", 1)]), false);
    grows!(other.save_snapshot(&name("a"), "f", "{}"), false);
    assert_eq!(last, registry.revision().await.unwrap());
}

#[tokio::test]
async fn the_journal_gives_the_last_events_oldest_first_and_is_bounded() {
    let (_folder, registry) = fresh().await;
    registry.append(&[]).await.unwrap();
    registry
        .append(&[event("a", 1), event("b", 2), event("a", 3)])
        .await
        .unwrap();
    let of_a = registry.events(Some(&name("a")), 10).await.unwrap();
    assert_eq!(of_a, [event("a", 1), event("a", 3)]);
    assert_eq!(
        registry.events(None, 2).await.unwrap(),
        [event("b", 2), event("a", 3)]
    );

    let many: Vec<_> = (4..=u64::from(JOURNAL_ROWS_MAX) + 5)
        .map(|at| event("b", at))
        .collect();
    registry.append(&many).await.unwrap();
    let kept = registry.events(None, usize::MAX).await.unwrap();
    assert_eq!(kept.len(), usize::try_from(JOURNAL_ROWS_MAX).unwrap());
    assert_eq!(kept.first(), Some(&event("b", 6)));
}

#[tokio::test]
async fn the_journal_of_talkative_children_is_bounded_in_bytes_too() {
    let (_folder, registry) = fresh().await;
    let long = |at| {
        let what = What::Gone {
            cause: crate::event::Cause::StdoutClosed,
            stderr: vec!["é".repeat(300); 20],
        };
        SupervisionEvent {
            what,
            ..event("a", at)
        }
    };
    let many: Vec<_> = (1..=9_000).map(long).collect();
    let bytes = |events: &[SupervisionEvent]| -> usize {
        let texts = events.iter().map(|event| serde_json::to_string(event).unwrap());
        texts.map(|text| text.chars().count()).sum()
    };
    for batch in many.chunks(250) {
        registry.append(batch).await.unwrap();
    }
    let kept = registry.events(None, usize::MAX).await.unwrap();
    let bound = usize::try_from(JOURNAL_BYTES_MAX).unwrap();
    assert!(bytes(&kept) <= bound + bytes(&kept[..250]), "{}", bytes(&kept));
    assert!(bytes(&kept) > bound / 2, "{}", bytes(&kept));
    assert_eq!(kept.last().unwrap().at_ms, 9_000);
}

#[tokio::test]
async fn snapshots_live_and_die_with_their_definition() {
    let (_folder, registry) = fresh().await;
    registry.save_snapshot(&name("a"), "f0", "{}").await.unwrap();
    assert_eq!(registry.snapshots().await.unwrap(), []);
    registry.put(Cli, &name("a"), &raw("x")).await.unwrap();
    registry.save_snapshot(&name("a"), "f1", "{}").await.unwrap();
    registry
        .save_snapshot(&name("a"), "f2", "{\"tools\":[]}")
        .await
        .unwrap();
    let expected = (name("a"), "f2".to_owned(), "{\"tools\":[]}".to_owned());
    assert_eq!(registry.snapshots().await.unwrap(), [expected]);
    registry.remove(&name("a")).await.unwrap();
    assert_eq!(registry.snapshots().await.unwrap(), []);
}

#[tokio::test]
async fn what_was_written_is_there_after_opening_again() {
    let (folder, registry) = fresh().await;
    registry.put(Cli, &name("a"), &raw("x")).await.unwrap();
    registry.close().await.unwrap();
    assert_eq!(
        std::fs::metadata(folder.path().join("registry.db-wal"))
            .unwrap()
            .len(),
        0
    );
    drop(registry);
    assert_eq!(names(&Registry::open(folder.path()).await.unwrap()).await, ["a"]);
}

/// The file was made by this code at version 1 of the tables, and must be readable for ever.
#[tokio::test]
async fn a_file_of_version_1_is_still_understood() {
    let folder = tempfile::tempdir().unwrap();
    let old = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/registry_v1.db");
    std::fs::copy(old, folder.path().join("registry.db")).unwrap();
    let registry = Registry::open(folder.path()).await.unwrap();
    let row = |name: &str, command: &str, enabled, shadowed| {
        (name.to_owned(), command.to_owned(), enabled, shadowed)
    };
    assert_eq!(
        listed(&registry).await,
        [
            row("tickets", "mcp-wrapper", true, false),
            row("time", "uvx", false, false),
            row("tickets", "mine", true, true)
        ]
    );
    assert_eq!(registry.events(None, 10).await.unwrap(), [event("tickets", 1)]);
    assert_eq!(registry.snapshots().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_add_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let writers: Vec<_> = ["left", "right"]
        .into_iter()
        .map(|side| {
            let folder = folder.path().to_owned();
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(async {
                    let registry = Registry::open(&folder).await.unwrap();
                    for n in 0..100 {
                        let put = registry
                            .put(Cli, &name(&format!("{side}{n}")), &raw("x"))
                            .await
                            .unwrap();
                        assert_eq!(put, Put::Added);
                    }
                });
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let registry = Registry::open(folder.path()).await.unwrap();
    assert_eq!(names(&registry).await.len(), 200);
    assert_eq!(registry.revision().await.unwrap(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_passes_is_waited_for() {
    let (_folder, registry) = fresh().await;
    let (let_go, holder) = lock_from_outside(registry.file());
    let putting = {
        let registry = registry.clone();
        async move { registry.put(Cli, &name("a"), &raw("x")).await }
    };
    let releasing = async {
        // Longer than SQLite itself waits, so that our own retry is what helps.
        tokio::time::sleep(connect::BUSY_TIMEOUT + std::time::Duration::from_millis(100)).await;
        let_go.send(()).unwrap();
    };
    let (put, ()) = tokio::join!(putting, releasing);
    assert_eq!(put.unwrap(), Put::Added);
    holder.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_stays_is_told_while_reading_goes_on() {
    let (_folder, registry) = fresh().await;
    registry.put(Cli, &name("a"), &raw("x")).await.unwrap();
    let (let_go, holder) = lock_from_outside(registry.file());
    let told = registry.remove(&name("a")).await.unwrap_err();
    assert!(
        matches!(
            told,
            RegistryError::Locked {
                doing: "removing a server",
                ..
            }
        ),
        "{told}"
    );
    assert_eq!(names(&registry).await, ["a"]);
    registry.check().await.unwrap();
    let_go.send(()).unwrap();
    holder.join().unwrap();
    assert_eq!(registry.remove(&name("a")).await.unwrap(), Removed::Gone);
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_there_stays() {
    let (_folder, registry) = fresh().await;
    registry.put(Cli, &name("a"), &raw("x")).await.unwrap();
    {
        let writer = registry.inner.writer.lock().unwrap();
        let pages: i64 = writer
            .query_row("PRAGMA page_count", [], |row| row.get(0))
            .unwrap();
        writer
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .unwrap();
    }
    let told = registry
        .put(Cli, &name("b"), &raw(&"x".repeat(100_000)))
        .await
        .unwrap_err();
    assert!(matches!(told, RegistryError::Full { .. }), "{told}");
    assert_eq!(names(&registry).await, ["a"]);
}

/// By `query_only`, because tests that run as root may write files of any mode.
#[tokio::test]
async fn a_read_only_registry_is_told_and_can_be_read() {
    let (_folder, registry) = fresh().await;
    registry.put(Cli, &name("a"), &raw("x")).await.unwrap();
    registry
        .inner
        .writer
        .lock()
        .unwrap()
        .pragma_update(None, "query_only", true)
        .unwrap();
    let told = registry.put(Cli, &name("b"), &raw("x")).await.unwrap_err();
    assert!(matches!(told, RegistryError::ReadOnly { .. }), "{told}");
    assert_eq!(names(&registry).await, ["a"]);
}

/// The same with real permissions, where there are any.
#[tokio::test]
async fn a_file_without_write_permission_can_be_read_and_is_not_changed() {
    if nix::unistd::geteuid().is_root() {
        // Not `eprintln!`: the test runner would swallow it.
        writeln!(
            std::io::stderr(),
            "skipped: read-only registry, because root may write every file"
        )
        .unwrap();
        return;
    }
    let (folder, registry) = fresh().await;
    let file = registry.file().to_owned();
    registry.put(Cli, &name("a"), &raw("x")).await.unwrap();
    registry.close().await.unwrap();
    drop(registry);
    let before = std::fs::read(&file).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
    let registry = Registry::open(folder.path()).await.unwrap();
    assert_eq!(names(&registry).await, ["a"]);
    let told = registry.put(Cli, &name("b"), &raw("x")).await.unwrap_err();
    assert!(matches!(told, RegistryError::ReadOnly { .. }), "{told}");
    assert_eq!(std::fs::read(&file).unwrap(), before);

    let closed = folder.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o500)).unwrap();
    let told = Registry::open(&closed).await.unwrap_err();
    assert!(matches!(told, RegistryError::CannotOpen { .. }), "{told}");
}

#[tokio::test]
async fn what_is_no_file_cannot_be_opened() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("registry.db")).unwrap();
    let told = Registry::open(folder.path()).await.unwrap_err();
    assert!(matches!(told, RegistryError::CannotOpen { .. }), "{told}");

    std::fs::write(folder.path().join("file"), "").unwrap();
    let told = Registry::open(&folder.path().join("file")).await.unwrap_err();
    assert!(matches!(told, RegistryError::CannotOpen { .. }), "{told}");
}

#[tokio::test]
async fn a_file_that_was_taken_away_is_noticed_and_so_is_its_return() {
    let (folder, registry) = fresh().await;
    let elsewhere = folder.path().join("elsewhere");
    registry.check().await.unwrap();
    std::fs::rename(registry.file(), &elsewhere).unwrap();
    assert!(!Registry::is_in(folder.path()));
    let told = registry.check().await.unwrap_err();
    assert!(matches!(told, RegistryError::Moved { .. }), "{told}");
    std::fs::copy(&elsewhere, registry.file()).unwrap();
    let told = registry.check().await.unwrap_err();
    assert!(
        matches!(told, RegistryError::Moved { .. }),
        "a copy is another file: {told}"
    );
    std::fs::rename(&elsewhere, registry.file()).unwrap();
    registry.check().await.unwrap();
}

#[tokio::test]
async fn a_damaged_file_is_told_and_its_bytes_stay() {
    let (folder, registry) = fresh().await;
    let file = registry.file().to_owned();
    for n in 0..50 {
        registry
            .put(Cli, &name(&format!("a{n}")), &raw(&"x".repeat(500)))
            .await
            .unwrap();
    }
    registry.close().await.unwrap();
    drop(registry);
    let whole = std::fs::read(&file).unwrap();
    let cut = whole[..whole.len() / 2].to_vec();
    let mut scribbled = whole.clone();
    scribbled[4096..].fill(0x5a);
    for damaged in [
        b"this is no database, but long enough to look at".repeat(50),
        cut,
        scribbled,
    ] {
        std::fs::write(&file, &damaged).unwrap();
        let told = Registry::open(folder.path()).await.unwrap_err();
        assert!(matches!(told, RegistryError::Corrupt { .. }), "{told}");
        assert_eq!(std::fs::read(&file).unwrap(), damaged);
    }
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(
        names(&Registry::open(folder.path()).await.unwrap()).await.len(),
        50
    );
}

#[tokio::test]
async fn a_file_from_the_future_is_refused_and_its_bytes_stay() {
    let (_folder, registry) = fresh().await;
    registry.close().await.unwrap();
    registry
        .inner
        .writer
        .lock()
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();

    // As after a crash: the change stands in the write-ahead log only.
    let crashed = tempfile::tempdir().unwrap();
    let (file, log) = (
        crashed.path().join("registry.db"),
        crashed.path().join("registry.db-wal"),
    );
    std::fs::copy(registry.file(), &file).unwrap();
    std::fs::copy(registry.file().with_file_name("registry.db-wal"), &log).unwrap();
    let before = (std::fs::read(&file).unwrap(), std::fs::read(&log).unwrap());
    assert!(!before.1.is_empty());

    let told = Registry::open(crashed.path()).await.unwrap_err();
    assert!(
        matches!(
            told,
            RegistryError::Newer {
                found: 99,
                known: 4,
                ..
            }
        ),
        "{told}"
    );
    assert_eq!(
        (std::fs::read(&file).unwrap(), std::fs::read(&log).unwrap()),
        before
    );
}

#[tokio::test]
async fn a_definition_that_cannot_be_read_does_not_hide_the_others() {
    let (_folder, registry) = fresh().await;
    registry.put(Cli, &name("a"), &raw("x")).await.unwrap();
    registry.put(Cli, &name("b"), &raw("x")).await.unwrap();
    let sql = "UPDATE definitions SET definition = '{\"from_the_future\":1}' WHERE name = 'a'";
    registry.inner.writer.lock().unwrap().execute(sql, []).unwrap();
    assert_eq!(names(&registry).await, ["b"]);
}
