//! Unanswered calls against a model: each waiter comes out exactly once, and late answers are known for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use mcp_wrapper::child::pending::{Found, N_TOMBSTONES_MAX, Pending, TOMBSTONE_KEPT, Waiter};
use mcp_wrapper::ids::WireId;
use tokio::time::Instant;

use crate::any::Any;

#[derive(Clone, Copy, PartialEq, Debug)]
enum State {
    Waits {
        deadline: Instant,
        patience: Duration,
        hard: Instant,
    },
    Dead {
        since: Instant,
    },
    Gone,
}

pub fn run(data: &[u8]) {
    let mut any = Any(data);
    let mut now = Instant::now();
    let mut pending = Pending::default();
    let mut model: BTreeMap<u64, State> = BTreeMap::new();
    while !any.is_empty() {
        match any.below(8) {
            0 | 1 => {
                let patience = Duration::from_secs(u64::from(any.byte()) % 90);
                let hard = now + Duration::from_secs(u64::from(any.byte()));
                let deadline = (now + patience).min(hard);
                let number = model.len() as u64 + 1;
                let id = pending.insert(Waiter {
                    deadline,
                    patience,
                    hard_deadline: hard,
                    reply: number,
                });
                assert_eq!(id, WireId(number), "ids are never given again");
                model.insert(
                    number,
                    State::Waits {
                        deadline,
                        patience,
                        hard,
                    },
                );
            }
            2 => {
                let number = some(&mut any, &model);
                match (pending.complete(WireId(number)), model.get(&number).copied()) {
                    (Found::Waiter(waiter), Some(State::Waits { .. })) => assert_eq!(waiter.reply, number),
                    (Found::Late, Some(State::Dead { .. })) => {}
                    (Found::Unknown, Some(State::Gone) | None) => continue,
                    // Tombstones go only when somebody looks at the clock.
                    (Found::Unknown, Some(State::Dead { since })) => {
                        assert!(now - since > TOMBSTONE_KEPT || model.len() > N_TOMBSTONES_MAX);
                    }
                    (found, known) => panic!("{found:?} for {known:?}"),
                }
                model.insert(number, State::Gone);
            }
            3 => {
                let number = some(&mut any, &model);
                let waits = matches!(model.get(&number), Some(State::Waits { .. }));
                assert_eq!(pending.cancel(WireId(number), now).is_some(), waits);
                if waits {
                    model.insert(number, State::Dead { since: now });
                }
            }
            4 => {
                let number = some(&mut any, &model);
                let touched = pending.touch(WireId(number), now).copied();
                if let Some(State::Waits {
                    deadline,
                    patience,
                    hard,
                }) = model.get_mut(&number)
                {
                    *deadline = (now + *patience).min(*hard);
                    assert_eq!(touched, Some(number));
                } else {
                    assert_eq!(touched, None);
                }
            }
            5 => now += Duration::from_secs(u64::from(any.byte())),
            6 => {
                let held = u64::from(any.byte()) % 3;
                let is_held = |number: &u64| held > 0 && number % 3 == held;
                let mut due: Vec<u64> = pending
                    .expire(now, is_held)
                    .into_iter()
                    .map(|(_, it)| it.reply)
                    .collect();
                due.sort_unstable();
                let mut wanted = Vec::new();
                for (number, state) in &mut model {
                    let State::Waits {
                        deadline,
                        patience,
                        hard,
                    } = state
                    else {
                        continue;
                    };
                    if *deadline > now {
                        continue;
                    }
                    if is_held(number) {
                        *deadline = now + *patience;
                        *hard = (*hard).max(*deadline);
                    } else {
                        wanted.push(*number);
                        *state = State::Dead { since: now };
                    }
                }
                assert_eq!(due, wanted);
            }
            _drain => {
                let drained: Vec<u64> = pending.drain().into_iter().map(|(_, it)| it.reply).collect();
                let waiting =
                    |(number, state): (&u64, &State)| matches!(state, State::Waits { .. }).then_some(*number);
                let wanted: Vec<u64> = model.iter().filter_map(waiting).collect();
                assert_eq!(drained, wanted);
                for number in wanted {
                    model.insert(number, State::Gone);
                }
            }
        }
        let n_waiting = model
            .values()
            .filter(|state| matches!(state, State::Waits { .. }))
            .count();
        assert_eq!((pending.len(), pending.is_empty()), (n_waiting, n_waiting == 0));
    }
}

fn some(any: &mut Any<'_>, model: &BTreeMap<u64, State>) -> u64 {
    any.below(model.len().min(250) + 2) as u64
}
