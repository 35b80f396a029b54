//! Several clients with equal ids and equal tokens on one child that answers out of order: nothing crosses.
//!
//! As a property: scripts come from a seed, which every failure names. The clients check what they hear (`ledger`);
//! what the child noted says whom it may have asked (`journal`).

mod journal;
mod ledger;

use serde_json::{Value, json};

use self::journal::Journal;
use self::ledger::{Deed, Ledger, Op};
use crate::harness::dice::seeds;
use crate::harness::peer::DOORS;
use crate::harness::{Daemon, Dice, Door, Peer, fake, request, until};

/// Calls of each client in one round side by side with the others.
const N_TOGETHER: usize = 300;
/// Calls of each client in one round when no other has any.
const N_ALONE: usize = 20;
/// Calls that a client has in flight at once while others call too.
const WIDTH: usize = 8;

/// How a client calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Nobody else uses its process: every question has to be answered, and every log message heard.
    Alone,
    /// While others call.
    Beside,
    /// The same, and it takes calls back.
    Fickle,
}

/// One client, with its script to come and its book.
struct Actor {
    peer: Peer,
    ledger: Ledger,
    dice: Dice,
}

impl Actor {
    async fn new(daemon: &Daemon, door: Door, who: &str, seed: u64) -> Self {
        // Elicitation came after the revision of HTTP+SSE.
        let capabilities = match door {
            Door::Sse => json!({ "sampling": {}, "roots": {} }),
            Door::Http | Door::Lines => json!({ "sampling": {}, "roots": {}, "elicitation": {} }),
        };
        let mut peer = Peer::new(daemon, door, &capabilities, who).await;
        let wish = request("level", "logging/setLevel", json!({ "level": "debug" }));
        let exchange = peer.ask(wish).await;
        assert!(peer.message().await.ends_with(r#""result":{}}"#));
        if exchange.is_some() {
            assert!(peer.next().await.text.is_none(), "the exchange has ended");
        }
        Self {
            peer,
            ledger: Ledger::new(who, door, seed),
            dice: Dice::new(seed ^ u64::from(who.as_bytes()[0]) << 32),
        }
    }

    fn op(&mut self, may_cancel: bool) -> Op {
        let dice = &mut self.dice;
        let deed = match dice.below(10) {
            0..=2 => Deed::Sleep { ms: dice.below(6) },
            3..=5 => Deed::Progress {
                n: 1 + dice.below(5),
                ms: dice.below(3),
            },
            6 | 7 => Deed::Log { n: 1 + dice.below(3) },
            8 => Deed::Fail,
            _ => {
                let methods = if self.ledger.door == Door::Sse { 1 } else { 2 };
                Deed::Ask {
                    method: ["sampling/createMessage", "elicitation/create"][dice.below(methods)],
                }
            }
        };
        Op {
            deed,
            cancelled_after: (may_cancel && dice.one_in(5)).then(|| dice.below(4)),
            has_token: !dice.one_in(4),
        }
    }

    /// `n` calls, `width` of them at once.
    async fn run(&mut self, n: usize, width: usize, mode: Mode) {
        let mut due: Vec<(usize, usize)> = Vec::new();
        let mut n_begun = 0;
        self.ledger.is_alone = mode == Mode::Alone;
        while n_begun < n || self.ledger.n_open() > 0 {
            if n_begun < n && self.ledger.n_open() < width {
                let op = self.op(mode == Mode::Fickle);
                let (call, text) = self.ledger.begin(op);
                if let Some(after) = op.cancelled_after {
                    due.push((n_begun + after, call));
                }
                let exchange = self.peer.ask(text).await;
                self.ledger.on_exchange(call, exchange);
                n_begun += 1;
            } else {
                let heard = self.peer.next().await;
                self.hear(heard).await;
            }
            let now = due.extract_if(.., |(at, _)| *at < n_begun || n_begun == n);
            for (_, call) in now.collect::<Vec<_>>() {
                let text = self.ledger.cancel(call);
                self.peer.tell(&text).await;
            }
        }
    }

    async fn hear(&mut self, heard: crate::harness::peer::Heard) {
        if let Some(answer) = self.ledger.hear(heard) {
            self.peer.tell(&answer).await;
        }
    }

    /// What came after the last answer.
    async fn drain(&mut self) {
        while let Some(heard) = self.peer.already() {
            self.hear(heard).await;
        }
    }
}

async fn quiet(daemon: &Daemon) {
    until("no call in flight", async || {
        (daemon.server("a").await["n_inflight"] == 0).then_some(())
    })
    .await;
}

async fn actors(daemon: &Daemon, seed: u64) -> [Actor; 3] {
    let [http, sse, lines] = DOORS;
    [
        Actor::new(daemon, http, "http", seed).await,
        Actor::new(daemon, sse, "sse", seed).await,
        Actor::new(daemon, lines, "lines", seed).await,
    ]
}

async fn run_together(all: &mut [Actor; 3], n: usize, width: usize, mode: Mode) {
    let [one, two, three] = all;
    tokio::join!(
        one.run(n, width, mode),
        two.run(n, width, mode),
        three.run(n, width, mode)
    );
}

#[tokio::test]
async fn nothing_crosses_between_clients_of_one_process() {
    for seed in seeds(&[105, 107, 1]) {
        let daemon = Daemon::start(&[fake("a")]).await;
        let mut all = actors(&daemon, seed).await;
        run_together(&mut all, N_TOGETHER, WIDTH, Mode::Beside).await;
        quiet(&daemon).await;
        for actor in &mut all {
            actor.run(N_ALONE, 1, Mode::Alone).await;
        }
        // Last: on what was cancelled the child may still work, and then the others are not alone.
        run_together(&mut all, N_TOGETHER, WIDTH, Mode::Fickle).await;
        quiet(&daemon).await;
        let journal = until("an answer to each of the child's questions", async || {
            let journal = Journal::read(&daemon.setup.journal("a"), seed);
            journal.is_all_answered().then_some(journal)
        })
        .await;
        for actor in &mut all {
            actor.drain().await;
            actor.ledger.check();
            journal.check(&actor.ledger);
        }
        // A script in which one of these never happens says nothing about it.
        let seen = |count: fn(&Ledger) -> usize| all.iter().map(|actor| count(&actor.ledger)).sum::<usize>();
        assert!(seen(|ledger| ledger.n_steps) > 100, "seed {seed}: progress");
        assert!(seen(|ledger| ledger.n_logs) > 10, "seed {seed}: logs");
        assert!(seen(Ledger::n_questions) > 5, "seed {seed}: questions");
        assert!(journal.n_cancelled() > 5, "seed {seed}: cancellations");
        assert!(journal.n_to_refuse() > 5, "seed {seed}: refused questions");
        drop(all);
        daemon.end().await;
    }
}

#[tokio::test]
async fn nothing_crosses_between_clients_with_a_process_each() {
    for seed in seeds(&[106]) {
        let daemon = Daemon::start(&[fake("a").key("sharing", "\"per-session\"")]).await;
        let mut all = actors(&daemon, seed).await;
        run_together(&mut all, N_TOGETHER, WIDTH, Mode::Fickle).await;
        // With one call at a time every question finds its client, whatever the others do.
        run_together(&mut all, 3 * N_ALONE, 1, Mode::Alone).await;
        for actor in &mut all {
            actor.drain().await;
            actor.ledger.check();
        }
        let n_asked: usize = all.iter().map(|actor| actor.ledger.n_questions()).sum();
        assert!(n_asked > 5, "seed {seed}: questions");
        drop(all);
        daemon.end().await;
    }
}

/// The stamp of a call, wherever it stands.
fn stamp_of(value: &Value) -> Option<&str> {
    value["stamp"].as_str()
}
