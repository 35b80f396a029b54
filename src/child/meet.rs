//! Meeting a fresh process: finding out what it speaks, where that is not known, and the handshake where it needs one.
//!
//! What is seen is judged in [`super::probe`]; this only sends, waits and notes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::error::CallError;
use super::handshake::Handshake;
use super::link::Link;
use super::mask::Mask;
use super::outgoing::Params;
use super::probe::{self, Finding, Known, Next, Seen};
use super::sending::{Sending, Witness};
use super::verdict::{Older, Verdict, Verdicts, now_ms};
use crate::config::spec::EraPolicy;
use crate::ids::{ServerName, WireId};
use crate::rpc::error::code;
use crate::rpc::mcp::{Era, method};
use crate::rpc::message::notification_line;
use crate::rpc::{Outcome, Raw};

/// What is thought of a server that has not shown it yet: not written down, but its next process is spared the question.
#[derive(Debug, Clone, Default)]
pub(super) struct Hunch(Arc<Mutex<Option<Finding>>>);

impl Hunch {
    pub(super) fn set(&self, finding: Option<Finding>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = finding;
    }

    fn get(&self) -> Option<Finding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How the meeting ended.
#[derive(Debug)]
pub(super) enum Met {
    /// It is known how to speak to it.
    Agreed(Handshake),
    /// Another process has to be met: this one has settled for something that we cannot go on with.
    StartOver,
}

/// Why it came to nothing.
#[derive(Debug)]
pub(super) enum Refused {
    /// Its own words, or what was wrong with them.
    Said(String),
    /// The process is gone.
    Gone,
}

/// Everything that is needed to meet one process.
#[derive(Debug)]
pub(super) struct Meeting {
    pub(super) link: Arc<Link>,
    pub(super) server: ServerName,
    pub(super) era: EraPolicy,
    /// Of the program as it is now.
    pub(super) fingerprint: String,
    pub(super) verdicts: Verdicts,
    pub(super) hunch: Hunch,
    /// How long the whole start may take.
    pub(super) start_timeout: Duration,
    pub(super) is_runner: bool,
    /// Of our `initialize`.
    pub(super) params: Raw,
    /// Set while an end of the process may be its answer to a question that it does not understand.
    pub(super) is_asking: Arc<AtomicBool>,
    /// What it may not be quoted with.
    pub(super) mask: Mask,
}

/// A request whose answer is waited for.
struct Asked {
    id: WireId,
    answer: oneshot::Receiver<Result<Outcome, CallError>>,
}

/// An answer as it is looked at.
enum Heard {
    Outcome(Outcome),
    Unreadable(String),
}

impl Meeting {
    /// Meets it.
    pub(super) async fn meet(self) -> Result<Met, Refused> {
        let known = self.verdicts.of(&self.server);
        let is_first = known.is_none();
        let known = known.filter(|known| known.holds(&self.fingerprint, now_ms()));
        let is_legacy = known.as_ref().is_some_and(|known| known.era == Era::Legacy);
        let before = match &known {
            Some(known) if known.era == Era::Modern => Known::Modern,
            None if is_first => Known::Nothing,
            _other => Known::Other,
        };
        let hunch = self.hunch.get();
        let asks = match self.era {
            EraPolicy::Legacy => false,
            EraPolicy::Modern => true,
            EraPolicy::Auto | EraPolicy::Both => !is_legacy && hunch.is_none(),
        };
        if !asks {
            return self.greet(hunch, None, is_legacy).await;
        }
        self.is_asking.store(self.era.is_found_out(), Ordering::Release);
        let patience = probe::patience(self.era, self.is_runner, before, self.start_timeout);
        let (next, asked) = self.discover(patience).await?;
        match next {
            Next::Speak(handshake) => Ok(self.agree(handshake, Some(Finding::modern()))),
            Next::Greet(finding) => {
                self.contradict(known.as_ref());
                self.hunch.set(Some(finding.clone()));
                self.greet(Some(finding), asked, false).await
            }
            Next::StartOver(finding) => {
                self.contradict(known.as_ref());
                self.hunch.set(Some(finding));
                Ok(Met::StartOver)
            }
            Next::Refuse(why) => Err(Refused::Said(why)),
            Next::AskAgain(_) => Err(Refused::Said("the server refuses `server/discover`".to_owned())),
        }
    }

    /// Asks what it is, once more if it says so. An answer that has not come is still waited for.
    async fn discover(&self, patience: Duration) -> Result<(Next, Option<Asked>), Refused> {
        let (mut capabilities, mut is_again) = (Raw::empty_object(), false);
        loop {
            let params = probe::discover_params(&capabilities);
            let mut asked = self.ask(method::DISCOVER, params)?;
            let heard = match tokio::time::timeout(patience, heard(&mut asked.answer)).await {
                Ok(heard) => Some(heard?),
                Err(_silence) => None,
            };
            let next = probe::after_discover(&seen(heard.as_ref()), is_again, self.era);
            if let Next::AskAgain(needed) = next {
                // It is asked twice at most: after that it is refused.
                (capabilities, is_again) = (needed, true);
                continue;
            }
            return Ok((next, heard.is_none().then_some(asked)));
        }
    }

    /// Shakes hands. `late`: the answer to the question before, which may still come.
    async fn greet(
        &self,
        mut finding: Option<Finding>,
        mut late: Option<Asked>,
        is_legacy: bool,
    ) -> Result<Met, Refused> {
        let was_asked = finding.is_some() && self.is_asking.load(Ordering::Acquire);
        let mut greeted = self.ask(method::INITIALIZE, self.params.clone())?;
        let mut modern = None;
        let outcome = loop {
            tokio::select! {
                // What was asked first is mostly answered first.
                biased;
                heard = late_answer(&mut late) => match self.judged_late(heard) {
                    Some(Next::Speak(handshake)) => modern = Some(handshake),
                    Some(Next::Greet(surer)) => finding = Some(surer),
                    _another => {}
                },
                heard = heard(&mut greeted.answer) => break heard?,
            }
        };
        let outcome = match outcome {
            Heard::Outcome(outcome) => outcome,
            Heard::Unreadable(why) => return Err(Refused::Said(why)),
        };
        let said = Handshake::read(&outcome);
        if let Ok(handshake) = said {
            self.link
                .post(notification_line(method::INITIALIZED, None::<&Raw>));
            // It speaks both: the next process is spoken to in the newer way.
            let found = modern.map(|_| Finding::modern()).or(finding);
            let found = found.or_else(|| (!is_legacy).then(Finding::of_handshake));
            let met = self.agree(handshake, found);
            self.hear_late(late);
            return Ok(met);
        }
        if let Some(handshake) = modern {
            return Ok(self.agree(handshake, Some(Finding::modern())));
        }
        let why = said.err().unwrap_or_default();
        let Err(error) = &outcome else {
            return Err(Refused::Said(why));
        };
        let next = if late.is_some() && probe::code_of(error) == Some(code::UNSUPPORTED_VERSION) {
            // It is modern, and has not come to our first question yet.
            let heard = late_answer(&mut late).await;
            self.judged_late(heard)
        } else if probe::doubts_handshake(error, self.era, was_asked, is_legacy) {
            self.forget(late);
            self.verdicts.wipe(&self.server);
            Some(
                self.discover(probe::PATIENCE.min(self.start_timeout / 2))
                    .await?
                    .0,
            )
        } else {
            None
        };
        match next {
            Some(Next::Speak(handshake)) => Ok(self.agree(handshake, Some(Finding::modern()))),
            _it_stays_refused => Err(Refused::Said(why)),
        }
    }

    fn judged_late(&self, heard: Result<Heard, Refused>) -> Option<Next> {
        let heard = heard.ok()?;
        Some(probe::after_discover(&seen(Some(&heard)), true, self.era))
    }

    /// It has shaken hands, and may still answer what it was asked before: slowly, or after what it was asked later. Then
    /// its next process is spoken to in the newer way.
    fn hear_late(&self, late: Option<Asked>) {
        let Some(mut asked) = late else { return };
        if !self.era.is_found_out() {
            return self.forget(Some(asked));
        }
        let late = Late {
            verdicts: self.verdicts.clone(),
            server: self.server.clone(),
            fingerprint: self.fingerprint.clone(),
            era: self.era,
        };
        let late = Arc::new(late);
        let is_to_come = self.link.forget(asked.id, Some(as_witness(&late)));
        if let (false, Ok(Ok(outcome))) = (is_to_come, asked.answer.try_recv()) {
            late.hear(&outcome);
        }
    }

    /// It is known how to speak to it, and perhaps something new of it.
    fn agree(&self, handshake: Handshake, found: Option<Finding>) -> Met {
        self.is_asking.store(false, Ordering::Release);
        self.hunch.set(None);
        if let Some(finding) = found.filter(|_| self.era.is_found_out()) {
            let mut verdict = Verdict::of(finding, &self.fingerprint, now_ms());
            handshake.revision.as_str().clone_into(&mut verdict.revision);
            // It may quote the server's own words, and is kept.
            verdict.how = self.mask.hide(&verdict.how).into_owned();
            self.verdicts.note(&self.server, verdict);
        }
        Met::Agreed(handshake)
    }

    /// It was thought to be modern, and is not.
    fn contradict(&self, known: Option<&Verdict>) {
        if known.is_some() {
            self.verdicts.wipe(&self.server);
        }
    }

    fn ask(&self, method: &'static str, params: Raw) -> Result<Asked, Refused> {
        let (sending, answered) = Sending::ours(method, Params::Plain(params), self.start_timeout);
        let id = self.link.send(sending).map_err(|_unsent| Refused::Gone)?;
        Ok(Asked { id, answer: answered })
    }

    /// Nobody waits for this answer any more; it may still come, and is then known for what it is.
    fn forget(&self, late: Option<Asked>) {
        if let Some(asked) = late {
            self.link.forget(asked.id, None);
        }
    }
}

/// Hears what a server says to `server/discover` after it has shaken hands.
#[derive(Debug)]
struct Late {
    verdicts: Verdicts,
    server: ServerName,
    fingerprint: String,
    era: EraPolicy,
}

impl Witness for Late {
    fn answered(&self, _link: &Link, _id: WireId, _outcome: &Outcome) {}

    fn answered_late(&self, _link: &Link, _id: WireId, outcome: &Outcome) {
        self.hear(outcome);
    }
}

impl Late {
    fn hear(&self, outcome: &Outcome) {
        let Next::Speak(handshake) = probe::after_discover(&Seen::Answer(outcome), true, self.era) else {
            return;
        };
        let server = &self.server;
        tracing::info!(%server, "it needs no handshake, and said so late: its next process is not asked for one");
        let mut verdict = Verdict::of(Finding::modern(), &self.fingerprint, now_ms());
        handshake.revision.as_str().clone_into(&mut verdict.revision);
        verdict.older = Older::Spoken;
        self.verdicts.note(server, verdict);
    }
}

fn as_witness(late: &Arc<Late>) -> Arc<dyn Witness> {
    Arc::<Late>::clone(late)
}

async fn heard(answer: &mut oneshot::Receiver<Result<Outcome, CallError>>) -> Result<Heard, Refused> {
    match answer.await {
        Ok(Ok(outcome)) => Ok(Heard::Outcome(outcome)),
        Ok(Err(error @ (CallError::BadAnswer { .. } | CallError::TooLarge { .. }))) => {
            Ok(Heard::Unreadable(error.to_string()))
        }
        Ok(Err(_gone)) => Err(Refused::Gone),
        Err(_dropped) => Err(Refused::Gone),
    }
}

/// The answer that is late, once; none comes where none is waited for.
async fn late_answer(late: &mut Option<Asked>) -> Result<Heard, Refused> {
    let Some(asked) = late.as_mut() else {
        return std::future::pending().await;
    };
    let heard = heard(&mut asked.answer).await;
    *late = None;
    heard
}

fn seen(heard: Option<&Heard>) -> Seen<'_> {
    match heard {
        Some(Heard::Outcome(outcome)) => Seen::Answer(outcome),
        Some(Heard::Unreadable(why)) => Seen::Unreadable(why),
        None => Seen::Silence,
    }
}
