//! W3C trace context, as far as it says whose call something belongs to. Pure.
//!
//! Every call to a process that several sessions use gets a span of ours, unlike any other; a server that passes
//! trace context on says with it to which call its own requests and messages belong.
//! Source: W3C Trace Context, 3.2 "Traceparent Header"; in MCP it stands in `_meta.traceparent`.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// One call's place in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// The whole trace: never zero.
    pub trace_id: u128,
    /// The call in it: never zero.
    pub span_id: u64,
    flags: u8,
}

/// "Sampled": a server that records its calls goes on recording them, as it does without a parent.
const SAMPLED: u8 = 1;

impl Trace {
    /// Reads a `traceparent`; `None` when it is not valid.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(5, '-');
        let version = u8::try_from(hex(parts.next()?, 2)?).ok()?;
        let trace_id = hex(parts.next()?, 32)?;
        let span_id = u64::try_from(hex(parts.next()?, 16)?).ok()?;
        let flags = u8::try_from(hex(parts.next()?, 2)?).ok()?;
        let has_more = parts.next().is_some();
        // 255 is forbidden; what comes after version 0 may say more, and begins the same.
        let is_known = version != u8::MAX && (version != 0 || !has_more);
        (is_known && trace_id != 0 && span_id != 0).then_some(Self {
            trace_id,
            span_id,
            flags,
        })
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace_id,
            span_id,
            flags,
        } = self;
        write!(f, "00-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

/// A number in lower-case hexadecimal digits, just so many.
fn hex(text: &str, n_digits: usize) -> Option<u128> {
    let fits = text.len() == n_digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// Gives out spans that are unlike each other.
#[derive(Debug)]
pub struct Spans {
    /// Random, so that no other program is likely to give out the same.
    trace_prefix: u64,
    next: AtomicU64,
}

impl Spans {
    /// Spans that begin somewhere.
    pub fn random() -> Self {
        let (trace_prefix, first) = uuid::Uuid::new_v4().as_u64_pair();
        Self {
            // Never zero, so that no trace id is.
            trace_prefix: trace_prefix | 1,
            next: AtomicU64::new(first),
        }
    }

    /// A span for one call: in the caller's trace, if it has a valid one, else in a trace of its own.
    pub fn of_call(&self, caller: Option<&str>) -> Trace {
        let span_id = loop {
            let span_id = self.next.fetch_add(1, Ordering::Relaxed);
            if span_id != 0 {
                break span_id;
            }
        };
        match caller.and_then(Trace::parse) {
            Some(caller) => Trace { span_id, ..caller },
            None => Trace {
                trace_id: u128::from(self.trace_prefix) << 64 | u128::from(span_id),
                span_id,
                flags: SAMPLED,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CALLERS: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";

    #[test]
    fn what_the_standard_allows_is_read_and_nothing_else() {
        assert_eq!(Trace::parse(CALLERS).unwrap().to_string(), CALLERS);
        let newer = CALLERS.replacen("00", "01", 1) + "-more-of-it";
        assert_eq!(Trace::parse(&newer), Trace::parse(CALLERS));
        for bad in [
            "",
            "00",
            "00-0-0-0",
            &CALLERS.to_uppercase(),
            &CALLERS.replacen("00", "ff", 1),
            &format!("{CALLERS}-more"),
            &format!("{CALLERS} "),
            &format!("+{}", CALLERS.get(1..).unwrap()),
            &CALLERS.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &CALLERS.replace("00f067aa0ba902b7", &"0".repeat(16)),
        ] {
            assert_eq!(Trace::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_caller_keeps_its_trace_and_every_call_has_a_span_of_its_own() {
        let spans = Spans {
            trace_prefix: 7,
            next: AtomicU64::new(u64::MAX),
        };
        let (first, second) = (spans.of_call(Some(CALLERS)), spans.of_call(Some(CALLERS)));
        assert_eq!(first.span_id, u64::MAX);
        assert_eq!(second.span_id, 1, "zero is no span");
        let caller = Trace::parse(CALLERS).unwrap();
        assert_eq!((first.trace_id, first.flags), (caller.trace_id, caller.flags));
        let (third, fourth) = (spans.of_call(None), spans.of_call(Some("nonsense")));
        assert_ne!(third.trace_id, fourth.trace_id);
        assert_eq!(
            third.to_string(),
            "00-00000000000000070000000000000002-0000000000000002-01"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(trace_id in 1_u128.., span_id in 1_u64.., flags: u8) {
            let trace = Trace { trace_id, span_id, flags };
            prop_assert_eq!(Trace::parse(&trace.to_string()), Some(trace));
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,60}") {
            Trace::parse(&text);
        }
    }
}
