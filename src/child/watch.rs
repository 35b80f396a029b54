//! What is watched while a process runs: deadlines of calls, signs of life, and whether anybody still needs it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::link::{Link, ReplyTo, Sending};
use super::outgoing::Params;
use super::state::Sight;
use crate::config::spec::Policy;
use crate::rpc::{Text, mcp};

/// How often an idle child is looked at again.
const IDLE_TICK: Duration = Duration::from_millis(100);

/// Gives up calls whose time has come. Sleeps without a tick while none is in flight.
pub async fn deadlines(link: Arc<Link>, call_timeout: Duration) {
    let tick = (call_timeout / 20).clamp(Duration::from_millis(10), Duration::from_millis(500));
    loop {
        if link.n_inflight() == 0 {
            link.busy.notified().await;
        }
        tokio::time::sleep(tick).await;
        link.expire(Instant::now());
    }
}

/// Pings a process that is silent while nobody calls it, and says what that shows.
///
/// A call in flight is no reason for doubt: it has a deadline of its own. An error is an answer too.
pub async fn liveness(link: Arc<Link>, policy: Policy, mut say: impl FnMut(Sight)) {
    if policy.probe_interval.is_zero() {
        return std::future::pending().await;
    }
    let mut n_missed = 0;
    loop {
        tokio::time::sleep(policy.probe_interval).await;
        if link.was_heard() {
            n_missed = 0;
            say(Sight::Traffic);
            continue;
        }
        if link.n_inflight() > 0 {
            continue;
        }
        ping(&link, policy.probe_timeout).await;
        if link.was_heard() {
            n_missed = 0;
            say(Sight::Traffic);
            continue;
        }
        n_missed += 1;
        tracing::debug!(n_missed, "no answer to a ping");
        if n_missed >= policy.probe_threshold {
            say(Sight::ProbesFailed);
        }
    }
}

async fn ping(link: &Link, patience: Duration) {
    let (answer, answered) = oneshot::channel();
    let reply = ReplyTo {
        lane: None,
        answer,
        place: None,
        last_progress: f64::NEG_INFINITY,
        witness: None,
    };
    let method = Text::fixed(mcp::method::PING);
    let hard_deadline = Instant::now() + patience;
    if link
        .send(Sending {
            method,
            params: Params::None,
            patience,
            hard_deadline,
            reply,
        })
        .is_err()
    {
        return;
    }
    // Whether it came is seen by `was_heard`.
    if tokio::time::timeout(patience, answered).await.is_err() {
        tracing::debug!("a ping was not answered in time");
    }
}

/// Says when nobody has called for `idle_stop`, and again while that stays so: the machine may have been busy.
pub async fn idleness(link: Arc<Link>, idle_stop: Option<Duration>, mut say: impl FnMut()) {
    let Some(idle_stop) = idle_stop else {
        return std::future::pending().await;
    };
    loop {
        let quiet_for = if link.is_used() {
            Duration::ZERO
        } else {
            link.quiet_for(Instant::now())
        };
        if quiet_for >= idle_stop {
            say();
        }
        tokio::time::sleep(idle_stop.saturating_sub(quiet_for).max(IDLE_TICK)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::child::outgoing::OutLine;
    use crate::ids::Generation;
    use crate::rpc::Raw;

    #[tokio::test(start_paused = true)]
    async fn pings_do_not_keep_a_child_busy_that_nobody_calls() {
        let policy = Policy::default();
        let idle_stop = 4 * policy.probe_interval;
        let (link, mut queue) = Link::new(Generation(1), 8);
        let begun = Instant::now();
        let mut n_pings = 0;
        let child = async {
            while let Some(OutLine::Call { id, .. }) = queue.recv().await {
                n_pings += 1;
                link.hear();
                assert!(link.answer(id, Ok(Ok(Raw::empty_object()))));
            }
        };
        let (said, idle) = oneshot::channel();
        let mut said = Some(said);
        let say = || {
            if let Some(said) = said.take() {
                said.send(Instant::now()).unwrap();
            }
        };
        let idle_at = tokio::select! {
            at = idle => at.unwrap(),
            () = child => panic!("the link has ended"),
            () = liveness(Arc::clone(&link), policy, |_| {}) => panic!("it ended"),
            () = idleness(Arc::clone(&link), Some(idle_stop), say) => panic!("it ended"),
            () = tokio::time::sleep(10 * idle_stop) => panic!("never idle"),
        };
        assert!(
            idle_at - begun < idle_stop + Duration::from_secs(1),
            "{:?}",
            idle_at - begun
        );
        assert!(n_pings >= 2, "it was pinged meanwhile");
    }
}
