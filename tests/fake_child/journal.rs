//! The two files the tests read: what happened to this process, and which calls took effect.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

/// Both files; each may be absent.
#[derive(Debug)]
pub(crate) struct Journal {
    events: Option<Mutex<File>>,
    effects: Option<Mutex<File>>,
}

impl Journal {
    pub(crate) fn open(events: Option<&Path>, effects: Option<&Path>) -> Self {
        let open = |path: &Path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            Mutex::new(file.unwrap_or_else(|why| {
                eprintln!("fake-child: {}: {why}", path.display());
                std::process::exit(2)
            }))
        };
        Self {
            events: events.map(open),
            effects: effects.map(open),
        }
    }

    /// One event.
    pub(crate) fn note(&self, event: &str) {
        append(self.events.as_ref(), event.as_bytes());
    }

    /// One event with bytes that need not be text.
    pub(crate) fn note_bytes(&self, event: &str, bytes: &[u8]) {
        if self.events.is_some() {
            append(self.events.as_ref(), &[event.as_bytes(), b" ", bytes].concat());
        }
    }

    /// One effect, on the disk before the call goes on: it must survive the crash that may follow.
    pub(crate) fn effect(&self, nonce: &str) {
        append(self.effects.as_ref(), nonce.as_bytes());
        if let Some(file) = &self.effects {
            file.lock()
                .unwrap()
                .sync_all()
                .expect("the effects file can be synced");
        }
    }
}

/// One line in one write, so that lines of two processes on one file do not mix.
fn append(file: Option<&Mutex<File>>, line: &[u8]) {
    if let Some(file) = file {
        file.lock()
            .unwrap()
            .write_all(&[line, b"\n"].concat())
            .expect("the journal can be written");
    }
}
