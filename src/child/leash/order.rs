//! What a daemon and a leash say to each other: one order, then single bytes down and words of five bytes up.
//!
//! Both ends are one program of one build, so that this needs no versions.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

/// An order is at most so long, bytes; the kernel takes no longer arguments and environments.
pub(in crate::child) const ORDER_BYTES_MAX: usize = 8 << 20;
/// The length of the order comes before it, together with the stdin of the process to be.
pub(in crate::child) const HEAD_BYTES: usize = 4;
/// Every word of a leash has this length.
pub(in crate::child) const WORD_BYTES: usize = 5;

/// What a leash is to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::child) struct Order {
    /// The file to run.
    pub(in crate::child) file: PathBuf,
    pub(in crate::child) args: Vec<OsString>,
    /// The whole environment.
    pub(in crate::child) env: Vec<(OsString, OsString)>,
    /// Where; `None` where the daemon is.
    pub(in crate::child) cwd: Option<PathBuf>,
    /// The name of the tree, for the environment.
    pub(in crate::child) token: String,
    /// When the daemon is gone: from the end of stdin to SIGTERM.
    pub(in crate::child) eof_grace: Duration,
    /// When the daemon is gone: from SIGTERM to SIGKILL.
    pub(in crate::child) term_grace: Duration,
    pub(in crate::child) bounds: Bounds,
    /// The cgroup in which the server is to be, where it has one.
    pub(in crate::child) cgroup: Option<PathBuf>,
}

/// Limits that the kernel itself keeps for every process of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Open files of one process.
    pub files_max: u64,
    /// Whether a crash may leave a core file.
    pub core_dumps: bool,
    /// How far it gives way to others, 0 to 19.
    pub nice: u8,
}

impl Order {
    /// As bytes: fields that end with NUL. None when a field contains one, or it is too long.
    pub(in crate::child) fn encode(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut field = |text: &OsStr| {
            let is_whole = !text.as_bytes().contains(&0);
            bytes.extend_from_slice(text.as_bytes());
            bytes.push(0);
            is_whole
        };
        let mut are_whole = true;
        for number in [self.eof_grace, self.term_grace] {
            are_whole &= field(number.as_millis().to_string().as_ref());
        }
        let Bounds {
            files_max,
            core_dumps,
            nice,
        } = self.bounds;
        for number in [files_max, core_dumps.into(), nice.into()] {
            are_whole &= field(number.to_string().as_ref());
        }
        are_whole &= field(self.token.as_ref());
        are_whole &= field(self.cgroup.as_deref().unwrap_or_else(|| "".as_ref()).as_os_str());
        are_whole &= field(self.cwd.as_deref().unwrap_or_else(|| "".as_ref()).as_os_str());
        are_whole &= field(self.file.as_os_str());
        are_whole &= field(self.args.len().to_string().as_ref());
        for arg in &self.args {
            are_whole &= field(arg);
        }
        for (name, value) in &self.env {
            are_whole &= field(name) && field(value);
        }
        (are_whole && bytes.len() <= ORDER_BYTES_MAX).then_some(bytes)
    }

    /// From bytes. None when they are not an order.
    pub(in crate::child) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = bytes.strip_suffix(&[0])?.split(|byte| *byte == 0);
        let mut text = || fields.next().map(|field| OsString::from_vec(field.to_vec()));
        let millis = |text: OsString| Some(Duration::from_millis(text.to_str()?.parse().ok()?));
        let (eof_grace, term_grace) = (millis(text()?)?, millis(text()?)?);
        let mut number = || text()?.to_str()?.parse::<u64>().ok();
        let bounds = Bounds {
            files_max: number()?,
            core_dumps: number()? != 0,
            nice: number()?.try_into().ok()?,
        };
        let token = text()?.into_string().ok()?;
        let cgroup = text().map(PathBuf::from)?;
        let cwd = text().map(PathBuf::from)?;
        let file = text()?.into();
        let n_args: usize = text()?.to_str()?.parse().ok()?;
        let mut args = Vec::new();
        for _ in 0..n_args {
            args.push(text()?);
        }
        let mut env = Vec::new();
        while let Some(name) = text() {
            env.push((name, text()?));
        }
        Some(Self {
            file,
            args,
            env,
            cwd: (!cwd.as_os_str().is_empty()).then_some(cwd),
            token,
            eof_grace,
            term_grace,
            bounds,
            cgroup: (!cgroup.as_os_str().is_empty()).then_some(cgroup),
        })
    }
}

/// SIGTERM to the whole tree.
pub(in crate::child) const TERMINATE: u8 = b't';
/// SIGKILL to the whole tree, until nothing of it is left.
pub(in crate::child) const KILL: u8 = b'k';

/// What a leash says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::child) enum Word {
    /// The process runs, and this is its number.
    Runs(i32),
    /// The operating system refused, with this number.
    Refused(i32),
    /// The process has returned this code. What it has started may live.
    Returned(i32),
    /// This signal has ended it. The same holds.
    Signalled(i32),
    /// Nothing of the tree is left.
    Gone,
}

impl Word {
    /// As bytes.
    pub(in crate::child) fn encode(self) -> [u8; WORD_BYTES] {
        let (kind, number) = match self {
            Self::Runs(pid) => (b'p', pid),
            Self::Refused(errno) => (b'e', errno),
            Self::Returned(code) => (b'c', code),
            Self::Signalled(signal) => (b's', signal),
            Self::Gone => (b'g', 0),
        };
        let [a, b, c, d] = number.to_le_bytes();
        [kind, a, b, c, d]
    }

    /// From bytes. None when they are no word.
    pub(in crate::child) fn decode([kind, a, b, c, d]: [u8; WORD_BYTES]) -> Option<Self> {
        let number = i32::from_le_bytes([a, b, c, d]);
        Some(match kind {
            b'p' => Self::Runs(number),
            b'e' => Self::Refused(number),
            b'c' => Self::Returned(number),
            b's' => Self::Signalled(number),
            b'g' => Self::Gone,
            _other => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = OsString> {
        proptest::collection::vec(1_u8.., 0..8).prop_map(OsString::from_vec)
    }

    proptest! {
        #[test]
        fn an_order_arrives_as_it_was_given(
            file in text(),
            args in proptest::collection::vec(text(), 0..4),
            env in proptest::collection::vec((text(), text()), 0..4),
            cwd in proptest::option::of("/[a-z]{0,4}"),
            millis in 0..100_000_u64,
            core_dumps: bool,
            nice in 0..20_u8,
            cgroup in proptest::option::of("/[a-z]{0,4}"),
        ) {
            let order = Order {
                file: file.into(),
                args,
                env,
                cwd: cwd.map(PathBuf::from),
                token: "d/a/1/1".to_owned(),
                eof_grace: Duration::from_millis(millis),
                term_grace: Duration::from_millis(millis / 2),
                bounds: Bounds { files_max: millis, core_dumps, nice },
                cgroup: cgroup.map(PathBuf::from),
            };
            let bytes = order.encode().unwrap();
            prop_assert_eq!(Order::decode(&bytes), Some(order));
        }

        #[test]
        fn whatever_arrives_is_an_order_or_none(bytes: Vec<u8>) {
            drop(Order::decode(&bytes));
        }
    }

    #[test]
    fn a_field_with_a_nul_byte_is_no_order() {
        let order = Order {
            file: "sh".into(),
            args: vec!["a\0b".into()],
            env: Vec::new(),
            cwd: None,
            token: String::new(),
            eof_grace: Duration::ZERO,
            term_grace: Duration::ZERO,
            bounds: Bounds {
                files_max: 64,
                core_dumps: false,
                nice: 0,
            },
            cgroup: None,
        };
        assert_eq!(order.encode(), None);
    }

    #[test]
    fn words_arrive() {
        for word in [
            Word::Runs(77),
            Word::Refused(2),
            Word::Returned(-1),
            Word::Signalled(9),
            Word::Gone,
        ] {
            assert_eq!(Word::decode(word.encode()), Some(word));
        }
        assert_eq!(Word::decode(*b"x0000"), None);
    }
}
