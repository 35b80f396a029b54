//! Doubts about servers of every kind, with a clock and a server that only these tests move.

use proptest::prelude::*;

use super::*;

/// What a server does for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// It answers after this many milliseconds.
    Well(u64),
    /// It works, and answers nobody.
    Works,
    /// It has a call in flight, waits for something outside, and answers nobody.
    Called,
    /// It does nothing, for ever.
    Hangs,
    /// A signal has stopped it.
    Stopped,
}

/// What it makes of pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Answers,
    DoesNotKnow,
    IsSilent,
}

struct Server {
    kind: Kind,
    /// Each with its seconds; the last goes on.
    moods: Vec<(Mood, u64)>,
    born: Instant,
}

impl Server {
    fn at(&self, when: Instant) -> Mood {
        let mut left = when - self.born;
        for (mood, seconds) in &self.moods {
            let long = Duration::from_secs(*seconds);
            if left < long {
                return *mood;
            }
            left -= long;
        }
        self.moods.last().unwrap().0
    }

    /// In steps of a tenth of a second.
    fn steps(from: Instant, to: Instant) -> impl Iterator<Item = Instant> {
        std::iter::successors(Some(from), |at| Some(*at + Duration::from_millis(100)))
            .take_while(move |at| *at < to)
    }

    fn usage(&self, when: Instant) -> Usage {
        Usage {
            n_processes: 1,
            cpu: self.worked(when),
            is_stopped: self.at(when) == Mood::Stopped,
            ..Usage::default()
        }
    }

    /// How long it has worked until then.
    fn worked(&self, when: Instant) -> Duration {
        let (mut left, mut worked) = (when - self.born, Duration::ZERO);
        for (mood, seconds) in &self.moods {
            let here = left.min(Duration::from_secs(*seconds));
            left -= here;
            worked += here * u32::from(*mood == Mood::Works);
        }
        // The last mood goes on.
        let goes_on = self.moods.last().is_some_and(|(mood, _)| *mood == Mood::Works);
        worked + left * u32::from(goes_on)
    }

    /// When a ping of now is answered.
    fn answers_at(&self, now: Instant, patience: Duration) -> Option<Instant> {
        Self::steps(now, now + patience).find_map(|at| match self.at(at) {
            Mood::Well(ms) => Some(at + Duration::from_millis(ms)).filter(|at| *at < now + patience),
            Mood::Works | Mood::Called | Mood::Hangs | Mood::Stopped => None,
        })
    }
}

/// What was found, when, and since when it was looked at for that.
type Found = Vec<(Instant, Instant, Finding)>;

/// Lets the watch go its way, as `watch::liveness` does.
fn observe(server: &Server, policy: &Policy, until: Duration) -> Found {
    let mut doubt = Doubt::new(policy, server.born);
    let mut found = Vec::new();
    let mut now = server.born + policy.probe_interval;
    while now < server.born + until {
        let is_called = |at| server.at(at) == Mood::Called;
        let mut next = now + policy.probe_interval;
        if let Step::Look { ping, patience } = doubt.tick(now, false, is_called(now)) {
            let answered = server.answers_at(now, patience).filter(|_| ping);
            let (end, pong) = match (answered, server.kind) {
                (Some(at), Kind::Answers) => (at, Pong::Answered),
                (Some(at), Kind::DoesNotKnow) => (at, Pong::NotKnown),
                (Some(_), Kind::IsSilent) | (None, _) => (now + patience, Pong::Silent),
            };
            let look = Look {
                began: now,
                pong,
                before: Some(server.usage(now)),
                after: Some(server.usage(end)),
                is_called: is_called(end),
            };
            let finding = doubt.looked(end, patience, look);
            found.push((end, now, finding));
            next = match finding {
                Finding::Hung => return found,
                Finding::Suspect => end,
                Finding::Alive | Finding::Nothing | Finding::Unpinged => next.max(end),
            };
        }
        now = next;
    }
    found
}

fn server(kind: Kind, moods: &[(Mood, u64)]) -> Server {
    Server {
        kind,
        moods: moods.to_vec(),
        born: Instant::now(),
    }
}

fn is_hung(found: &Found) -> bool {
    found.iter().any(|(.., finding)| *finding == Finding::Hung)
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_server_that_hangs_is_suspect_after_its_pings_and_hung_after_one_more_of_twice_the_patience() {
    let server = server(Kind::Answers, &[(Mood::Well(5), 45), (Mood::Hangs, 1)]);
    let found = observe(&server, &Policy::default(), HOUR);
    let told: Vec<_> = found
        .iter()
        .map(|(at, _, finding)| ((*at - server.born).as_secs(), *finding))
        .collect();
    let (nothing, suspect) = (Finding::Nothing, Finding::Suspect);
    // Pings at 30 s (answered), 60, 90 and 120 s; each is waited for 10 s, and the last for 20.
    assert_eq!(
        told,
        [
            (30, Finding::Alive),
            (70, nothing),
            (100, nothing),
            (130, suspect),
            (150, Finding::Hung)
        ]
    );
}

#[test]
fn silence_is_no_sign_where_no_ping_was_ever_answered() {
    for kind in [Kind::DoesNotKnow, Kind::IsSilent] {
        let server = server(kind, &[(Mood::Well(5), 300), (Mood::Hangs, 1)]);
        let found = observe(&server, &Policy::default(), HOUR);
        let n_told = found.iter().filter(|(.., finding)| *finding == Finding::Unpinged);
        assert_eq!(n_told.count(), 1, "told once: {found:?}");
        assert!(!is_hung(&found), "{kind:?}");
    }
}

#[test]
fn a_stopped_server_is_hung_whatever_it_makes_of_pings() {
    for kind in [Kind::Answers, Kind::DoesNotKnow, Kind::IsSilent] {
        let moods = [(Mood::Well(5), 300), (Mood::Stopped, 1)];
        assert!(
            is_hung(&observe(&server(kind, &moods), &Policy::default(), HOUR)),
            "{kind:?}"
        );
    }
    let woken = [(Mood::Well(5), 45), (Mood::Stopped, 95), (Mood::Well(5), 1)];
    let found = observe(&server(Kind::Answers, &woken), &Policy::default(), HOUR);
    assert!(
        found.iter().any(|(.., finding)| *finding == Finding::Suspect),
        "{found:?}"
    );
    assert!(!is_hung(&found), "woken in time: {found:?}");
}

#[test]
fn work_spares_a_server_as_long_as_a_call_may_take() {
    let policy = Policy::default();
    let moods = [(Mood::Well(5), 45), (Mood::Works, 590), (Mood::Well(5), 1)];
    assert!(!is_hung(&observe(&server(Kind::Answers, &moods), &policy, HOUR)));
    let for_ever = [(Mood::Well(5), 45), (Mood::Works, 1)];
    assert!(is_hung(&observe(
        &server(Kind::Answers, &for_ever),
        &policy,
        HOUR
    )));
}

#[test]
fn a_sleep_of_ours_is_not_held_against_anybody() {
    let policy = Policy {
        probe_threshold: 1,
        ..Policy::default()
    };
    let began = Instant::now();
    let mut doubt = Doubt::new(&policy, began);
    let look = |pong| Look {
        began,
        pong,
        before: None,
        after: None,
        is_called: false,
    };
    assert_eq!(
        doubt.looked(began, policy.probe_timeout, look(Pong::Answered)),
        Finding::Alive
    );
    let late = began + HOUR;
    assert_eq!(
        doubt.looked(late, policy.probe_timeout, look(Pong::Silent)),
        Finding::Nothing
    );
    let in_time = began + policy.probe_timeout;
    assert_eq!(
        doubt.looked(in_time, policy.probe_timeout, look(Pong::Silent)),
        Finding::Suspect
    );
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        3 => (0_u64..9_000).prop_map(Mood::Well),
        2 => Just(Mood::Works),
        2 => Just(Mood::Called),
        1 => Just(Mood::Hangs),
        1 => Just(Mood::Stopped),
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![4 => Just(Kind::Answers), 1 => Just(Kind::DoesNotKnow), 1 => Just(Kind::IsSilent)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whoever is found hung has neither answered, nor worked, nor been called while it was looked at for the last
    /// time; and a server whose silence is no sign was stopped.
    #[test]
    fn no_healthy_server_is_ever_found_hung(
        kind in kind(),
        moods in prop::collection::vec((mood(), 1_u64..200), 1..8),
        threshold in 1_u32..4,
    ) {
        let server = server(kind, &moods);
        let policy = Policy { probe_threshold: threshold, ..Policy::default() };
        let found = observe(&server, &policy, Duration::from_secs(1800));
        if let Some((end, began, Finding::Hung)) = found.last() {
            let seen: Vec<Mood> = Server::steps(*began, *end).map(|at| server.at(at)).collect();
            let n_works = seen.iter().filter(|mood| **mood == Mood::Works).count();
            // A slow answer may fall out of the patience: it counts as well only where it would have come in time.
            let would_answer = server.answers_at(*began, *end - *began).is_some();
            prop_assert!(kind != Kind::Answers || !would_answer, "{seen:?}");
            prop_assert!(server.at(*end) != Mood::Called);
            let silent_for = Server::steps(server.born, *end)
                .filter(|at| server.answers_at(*at, Duration::from_millis(100)).is_some())
                .last()
                .map_or(*end - server.born, |at| *end - at);
            let is_idle = n_works * 100 <= seen.len() * 6;
            prop_assert!(is_idle || silent_for >= policy.call_max - policy.probe_interval, "{n_works} {silent_for:?}");
            if kind != Kind::Answers {
                prop_assert_eq!(server.at(*end), Mood::Stopped);
            }
        }
    }

    /// A server that has answered and then hangs is found in bounded time.
    #[test]
    fn whoever_hangs_is_found(
        moods in prop::collection::vec((mood(), 1_u64..100), 0..5),
        threshold in 1_u32..4,
    ) {
        let policy = Policy { probe_threshold: threshold, ..Policy::default() };
        let last = [(Mood::Well(5), 40), (Mood::Hangs, 1)];
        let moods: Vec<_> = moods.into_iter().filter(|(mood, _)| *mood != Mood::Stopped && *mood != Mood::Hangs).chain(last).collect();
        let long: u64 = moods.iter().map(|(_, seconds)| seconds).sum();
        let server = server(Kind::Answers, &moods);
        let hangs_at = server.born + Duration::from_secs(long - 1);
        let found = observe(&server, &policy, Duration::from_secs(long) + HOUR);
        let (end, _, finding) = *found.last().unwrap();
        prop_assert_eq!(finding, Finding::Hung);
        let bound = (threshold + 2) * policy.probe_interval + 4 * policy.probe_timeout;
        prop_assert!(end - hangs_at <= bound, "{:?}", end - hangs_at);
    }
}
