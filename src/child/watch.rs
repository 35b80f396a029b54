//! What is watched while a process runs: deadlines of calls, signs of life, and whether anybody still needs it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::doubt::{Doubt, Finding, Look, Pong, Step};
use super::limits::measure;
use super::link::Link;
use super::outgoing::Params;
use super::sending::Sending;
use super::state::Sight;
use super::usage::{Census, Tree};
use crate::config::spec::Policy;
use crate::event::What;
use crate::rpc::Raw;
use crate::rpc::error::code;
use crate::rpc::object::Object;

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

/// What is found out about a silent process.
#[derive(Debug)]
pub enum Sign {
    /// For the machine.
    Seen(Sight),
    /// For people.
    Told(What),
}

/// Pings a process that is silent while nobody calls it, and says what that shows. What counts is in `Doubt`.
pub async fn liveness(
    link: Arc<Link>,
    policy: Policy,
    tree: Tree,
    census: Arc<Census>,
    mut say: impl FnMut(Sign),
) {
    if policy.probe_interval.is_zero() {
        return std::future::pending().await;
    }
    let mut doubt = Doubt::new(&policy, Instant::now());
    let mut due = Instant::now() + policy.probe_interval;
    loop {
        tokio::time::sleep_until(due).await;
        let began = Instant::now();
        let mut next = due + policy.probe_interval;
        match doubt.tick(began, link.was_heard(), link.is_called()) {
            Step::Alive => say(Sign::Seen(Sight::Traffic)),
            Step::Rest => {}
            Step::Look { ping, patience } => {
                let look = look(&link, ping, patience, tree, &census).await;
                let finding = doubt.looked(Instant::now(), patience, look);
                tracing::debug!(?finding, pong = ?look.pong, "looked at a silent process");
                match finding {
                    Finding::Alive => say(Sign::Seen(Sight::Traffic)),
                    Finding::Nothing => {}
                    Finding::Unpinged => say(Sign::Told(What::Unpinged)),
                    Finding::Suspect => {
                        say(Sign::Seen(Sight::ProbesFailed));
                        next = Instant::now();
                    }
                    Finding::Hung => say(Sign::Seen(Sight::Hung)),
                }
            }
        }
        // Missed ticks are not made up for.
        due = next.max(Instant::now());
    }
}

async fn look(link: &Link, ping: bool, patience: Duration, tree: Tree, census: &Arc<Census>) -> Look {
    let before = measure(census, tree, None).await;
    let began = Instant::now();
    let pong = if ping {
        pinged(link, patience).await
    } else {
        tokio::time::sleep(patience).await;
        Pong::Silent
    };
    let pong = if pong == Pong::Silent && link.was_heard() {
        Pong::Heard
    } else {
        pong
    };
    let after = match pong {
        Pong::Silent => measure(census, tree, None).await,
        Pong::Answered | Pong::NotKnown | Pong::Heard => None,
    };
    Look {
        began,
        pong,
        before,
        after,
        is_called: link.is_called(),
    }
}

async fn pinged(link: &Link, patience: Duration) -> Pong {
    let (sending, answered) = Sending::ours(link.are_you_there(), Params::None, patience);
    if link.send(sending).is_err() {
        // Its queue is full, or it is gone: both are seen elsewhere.
        tokio::time::sleep(patience).await;
        return Pong::Silent;
    }
    match tokio::time::timeout(patience, answered).await {
        Ok(Ok(Ok(Err(error)))) if is_unknown_method(&error) => Pong::NotKnown,
        // Any other error is an answer too.
        Ok(Ok(Ok(Ok(_) | Err(_)))) => Pong::Answered,
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => Pong::Silent,
    }
}

fn is_unknown_method(error: &Raw) -> bool {
    let code = Object::of(error).and_then(|error| error.get("code").map(|code| code.as_str().to_owned()));
    code.and_then(|code| code.parse().ok()) == Some(code::METHOD_NOT_FOUND)
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

    #[tokio::test(start_paused = true)]
    async fn pings_do_not_keep_a_child_busy_that_nobody_calls() {
        let policy = Policy::default();
        let idle_stop = 4 * policy.probe_interval;
        let nobody = Tree {
            leader: 0,
            leash: None,
        };
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
        let (said, idle) = tokio::sync::oneshot::channel();
        let mut said = Some(said);
        let say = || {
            if let Some(said) = said.take() {
                said.send(Instant::now()).unwrap();
            }
        };
        let idle_at = tokio::select! {
            at = idle => at.unwrap(),
            () = child => panic!("the link has ended"),
            () = liveness(Arc::clone(&link), policy, nobody, Arc::default(), |_| {}) => panic!("it ended"),
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
