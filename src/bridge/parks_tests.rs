//! Time and limits of parked calls, on a clock that stands still.

use tokio::sync::{mpsc, watch};

use super::*;
use crate::bridge::exchange::Step;
use crate::child::Lane;
use crate::child::link::Link;
use crate::child::outgoing::OutLine;
use crate::ids::{Generation, Instance};
use crate::route::assurance::Assurance;
use crate::route::questions::{Back, Question};
use crate::route::{ClientSide, Listeners};
use crate::rpc::RequestId;
use crate::rpc::mcp::Revision;

/// One call of a client to a server that asks.
struct World {
    parks: Parks,
    profile: Arc<Profile>,
    lane: Arc<Lane>,
    client: Arc<ClientSide>,
    link: Arc<Link>,
    queue: mpsc::Receiver<OutLine>,
}

impl World {
    fn new() -> Self {
        let (_keep, directory) = watch::channel(Arc::default());
        let (save, _saved) = mpsc::channel(1);
        let (events, _nobody_listens) = tokio::sync::broadcast::channel(1);
        let tasks = crate::tasks::Tasks::new();
        let catalog = crate::catalog::Catalog::new(directory.clone(), tasks.clone(), save, events);
        let router = Router::new(directory, catalog, Arc::new(Listeners::default()), tasks);
        let profile = Arc::new(Profile {
            revision: Revision::NEWEST,
            client_info: None,
            capabilities: Raw::empty_object(),
            log_level: None,
        });
        let (link, queue) = Link::new(Generation(1), 64);
        Self {
            parks: Parks::new(router, Keys::random().unwrap()),
            lane: Arc::new(Lane::new(SessionId::random(), RequestId::number(1), None)),
            client: Arc::new(ClientSide::of_request(Arc::clone(&profile))),
            profile,
            link,
            queue,
        }
    }

    fn exchange(&self) -> Exchange {
        let going = Going::endless(Arc::clone(&self.lane), Arc::clone(&self.client));
        Exchange::resume(&self.parks, going)
    }

    /// The server asks under this id, with these parameters.
    fn ask(&self, id: u64, params: &str) {
        let params = Raw::parse(&params.to_owned().into()).unwrap();
        let question = Question {
            instance: Instance::first(ServerName::parse("a").unwrap()),
            back: Back::to_process(&self.link, RequestId::number(id)),
            asked: method::ELICIT.to_owned(),
            assurance: Assurance::wanted(Some(&params), Instant::now()),
            params: Some(params),
            lane: Arc::clone(&self.lane),
            task: None,
            since: Instant::now(),
        };
        assert!(self.client.questions.ask(question).unwrap().is_none());
    }

    /// What the server hears next, if anything.
    fn heard(&mut self) -> Option<String> {
        match self.queue.try_recv().ok()? {
            OutLine::Other(line) => Some(String::from_utf8(line.to_vec()).unwrap()),
            OutLine::Call { .. } => panic!("a call"),
        }
    }

    /// The client comes back to what it was asked, and accepts all of it.
    fn come_back(&self, asked: &Asked) -> Returned {
        let answers: serde_json::Map<String, serde_json::Value> = asked
            .keys
            .iter()
            .map(|key| (key.clone(), json!({ "action": "accept" })))
            .collect();
        let profile = &self.profile;
        self.parks
            .take_back(&asked.state, Some(&Raw::of(&answers)), profile, None)
    }

    fn n_parked(&self) -> usize {
        self.parks.table().parked.len()
    }
}

/// What a client was asked.
struct Asked {
    state: State,
    keys: Vec<String>,
    text: String,
}

impl World {
    async fn asked(&self, exchange: &mut Exchange) -> Asked {
        let Step::Answered {
            outcome: Ok(result), ..
        } = exchange.step().await
        else {
            panic!("the client is not asked")
        };
        let object = Object::of(&result).unwrap();
        let sealed = object.get_string("requestState").unwrap();
        let requests = object.get("inputRequests").unwrap();
        let keys = Object::of(&requests).unwrap();
        Asked {
            state: self.parks.keys().open(&sealed, now_ms()).unwrap(),
            keys: keys.iter().map(|(key, _)| key).collect(),
            text: result.as_str().to_owned(),
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);
const PLAIN: &str = r#"{"message":"m"}"#;

#[tokio::test(start_paused = true)]
async fn questions_that_follow_one_another_closely_are_one_round_and_no_client_waits_long_for_more() {
    let world = World::new();
    let mut exchange = world.exchange();
    let begun = Instant::now();
    let asking = async {
        for id in 0..20 {
            world.ask(id, PLAIN);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    };
    let first = async { (world.asked(&mut exchange).await, begun.elapsed()) };
    let ((first, took), ()) = tokio::join!(first, asking);
    let range = 250..260;
    assert!(range.contains(&took.as_millis()), "{took:?}");
    assert_eq!(first.keys.len(), 9, "one in each 30 ms: {:?}", first.keys);
    // The others are the next round.
    let Returned::Goes(mut exchange) = world.come_back(&first) else {
        panic!("the client has come back")
    };
    let begun = Instant::now();
    let second = world.asked(&mut exchange).await;
    assert_eq!(second.keys.len(), 11, "{:?}", second.keys);
    assert!(first.keys.iter().all(|key| !second.keys.contains(key)));
    let took = begun.elapsed();
    let range = 40..50;
    assert!(
        range.contains(&took.as_millis()),
        "nothing came for a moment: {took:?}"
    );
    assert_eq!((first.state.round, second.state.round), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asked_for_progress_on_its_question_hears_of_it_until_there_is_an_answer() {
    let mut world = World::new();
    let mut exchange = world.exchange();
    world.ask(7, r#"{"message":"m","_meta":{"progressToken":"mine"}}"#);
    world.ask(8, PLAIN);
    let asked = world.asked(&mut exchange).await;
    assert!(!asked.text.contains("progressToken"), "{}", asked.text);
    let parked_at = Instant::now();
    world.parks.sweep(parked_at + 10 * SECOND);
    assert_eq!(world.heard(), None, "it is early");
    for n in 1..=3 {
        let now = parked_at + n * 15 * SECOND;
        world.parks.sweep(now);
        world.parks.sweep(now + SECOND);
        let heard = world.heard().unwrap();
        let params = format!(r#""params":{{"progressToken":"mine","progress":{n}}}"#);
        assert!(
            heard.contains(&params) && heard.contains("notifications/progress"),
            "{heard}"
        );
        assert_eq!(
            world.heard(),
            None,
            "once, and only of the question that wants it"
        );
    }
    let Returned::Goes(_exchange) = world.come_back(&asked) else {
        panic!("the client has come back")
    };
    for _question in ["7", "8"] {
        assert!(world.heard().unwrap().contains(r#""action":"accept""#));
    }
    world.parks.sweep(parked_at + 100 * SECOND);
    assert_eq!(world.heard(), None, "it has its answer");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_come_back_in_ten_minutes_has_cancelled() {
    let mut world = World::new();
    let mut exchange = world.exchange();
    world.ask(7, PLAIN);
    let asked = world.asked(&mut exchange).await;
    let parked_at = Instant::now();
    world.parks.sweep(parked_at + PARKED_MAX - SECOND);
    assert_eq!((world.n_parked(), world.lane.is_cancelled()), (1, false));
    world.parks.sweep(parked_at + PARKED_MAX);
    assert_eq!((world.n_parked(), world.lane.is_cancelled()), (0, true));
    let heard = world.heard().unwrap();
    assert_eq!(heard, r#"{"jsonrpc":"2.0","id":7,"result":{"action":"cancel"}}"#);
    assert!(matches!(world.come_back(&asked), Returned::Lost));
    // What the client keeps expires with it.
    let sealed = world.parks.keys().seal(&asked.state).unwrap();
    let expires_at_ms = asked.state.issued_at_ms + 600_000;
    let opened = |at_ms| world.parks.keys().open(&sealed, at_ms);
    assert!(opened(expires_at_ms - 1).is_ok());
    assert_eq!(opened(expires_at_ms), Err(seal::Refused::Expired));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_seals_no_more_opens_what_it_has_sealed() {
    let mut world = World::new();
    let mut exchange = world.exchange();
    world.ask(7, PLAIN);
    let asked = world.asked(&mut exchange).await;
    let sealed = world.parks.keys().seal(&asked.state).unwrap();
    let next = world.parks.keys().rotated().unwrap();
    world.parks.take_keys(next);
    assert_ne!(
        world.parks.keys().seal(&asked.state).unwrap(),
        sealed,
        "another key"
    );
    assert_eq!(world.parks.keys().open(&sealed, now_ms()).unwrap(), asked.state);
    let Returned::Goes(_exchange) = world.come_back(&asked) else {
        panic!("the client has come back")
    };
    assert!(world.heard().unwrap().contains(r#""action":"accept""#));
    // A stranger's keys open nothing.
    world.parks.take_keys(Keys::random().unwrap());
    assert_eq!(
        world.parks.keys().open(&sealed, now_ms()),
        Err(seal::Refused::Unauthentic)
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_task_asks_is_kept_waiting_too_without_a_call_that_is_parked() {
    let mut world = World::new();
    let (session, home) = (SessionId::random(), SessionId::random());
    let listeners = world.parks.0.router.listeners();
    listeners.add_at(session, home, Arc::clone(&world.client));
    world.ask(7, r#"{"message":"m","_meta":{"progressToken":"mine"}}"#);
    let asked_at = Instant::now();
    world.parks.sweep(asked_at + 10 * SECOND);
    assert_eq!(world.heard(), None, "it is early");
    for n in 1..=2 {
        world.parks.sweep(asked_at + n * 15 * SECOND);
        let heard = world.heard().unwrap();
        let params = format!(r#""params":{{"progressToken":"mine","progress":{n}}}"#);
        assert!(heard.contains(&params), "{heard}");
        assert_eq!(world.heard(), None);
    }
}
