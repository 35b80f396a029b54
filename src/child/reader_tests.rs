//! What a child can do on its stdout, and what becomes of it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use tokio::io::{AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::*;
use crate::child::hub::Outlet;
use crate::child::outgoing::{OutLine, Params};
use crate::child::sending::{Answer, Sending};
use crate::ids::{Generation, Instance, ServerName};

/// A reader with everything around it.
struct Fixture {
    link: Arc<Link>,
    to_child: mpsc::Receiver<OutLine>,
    hub: mpsc::Receiver<(Instance, FromChild)>,
    noise: Arc<Noise>,
    reader: Reader,
    shown: Arc<Mutex<Vec<String>>>,
}

fn fixture() -> Fixture {
    let (link, to_child) = Link::new(Generation(1), 16);
    let (to_hub, hub) = mpsc::channel(2);
    let noise: Arc<Noise> = Arc::default();
    let reader = Reader {
        link: Arc::clone(&link),
        hub: Hub::new(
            Instance::first(ServerName::parse("a").unwrap()),
            Outlet::into_queue(to_hub),
        ),
        noise: Arc::clone(&noise),
        message_bytes_max: 10_000,
        discard_bytes_max: 100_000,
    };
    let shown = Arc::default();
    Fixture {
        link,
        to_child,
        hub,
        noise,
        reader,
        shown,
    }
}

impl Fixture {
    /// Puts a call in flight: the first has the id 1.
    fn call(&self) -> Answer {
        let (sending, answered) = Sending::ours("tools/call", Params::None, Duration::from_secs(60));
        self.link.send(sending).unwrap();
        answered
    }

    /// Reads `stdout` to its end; gives back what can be looked at after that.
    async fn read(self, stdout: impl AsyncRead + Unpin) -> (Ended, Rest) {
        let shown = Arc::clone(&self.shown);
        let on_noise = move |line| shown.lock().unwrap().push(line);
        let ended = self.reader.run(stdout, CancellationToken::new(), on_noise).await;
        let rest = Rest {
            to_child: self.to_child,
            hub: self.hub,
            n_noise: self.noise.n_lines.load(Ordering::Relaxed),
            noise: self.noise,
            shown: std::mem::take(&mut self.shown.lock().unwrap()),
            _link: self.link,
        };
        (ended, rest)
    }

    /// Reads these bytes, then the end of the stream.
    async fn read_text(self, text: impl AsRef<[u8]>) -> Rest {
        let (ended, rest) = self.read(text.as_ref()).await;
        assert_eq!(ended, Ended::Closed);
        rest
    }
}

/// What is left when the reader has ended. Holds the link, so that an unanswered call stays unanswered.
struct Rest {
    to_child: mpsc::Receiver<OutLine>,
    hub: mpsc::Receiver<(Instance, FromChild)>,
    n_noise: u64,
    noise: Arc<Noise>,
    shown: Vec<String>,
    _link: Arc<Link>,
}

impl Rest {
    /// The lines for the child that are no calls of ours.
    fn posted(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(line) = self.to_child.try_recv() {
            if let OutLine::Other(line) = line {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
            }
        }
        lines
    }
}

fn result(answer: &mut Answer) -> String {
    let outcome = answer
        .try_recv()
        .expect("no answer has come")
        .expect("an error of ours");
    outcome.expect("an error of the child's").as_str().to_owned()
}

fn is_bad(answer: &mut Answer) -> bool {
    matches!(answer.try_recv(), Ok(Err(CallError::BadAnswer { .. })))
}

fn is_open(answer: &mut Answer) -> bool {
    answer.try_recv() == Err(oneshot::error::TryRecvError::Empty)
}

// === Answers ===

#[tokio::test]
async fn answers_reach_those_who_wait_in_any_order_and_in_a_batch() {
    let all = fixture();
    let (mut first, mut second, mut third) = (all.call(), all.call(), all.call());
    all.read_text(
        r#"[{"jsonrpc":"2.0","id":3,"result":"c"},{"jsonrpc":"2.0","id":1.0,"result":"a"}]
{"jsonrpc":"2.0","id":2,"error":{"code":1,"message":"b"}}
"#,
    )
    .await;
    assert_eq!(
        (result(&mut first), result(&mut third)),
        (r#""a""#.to_owned(), r#""c""#.to_owned())
    );
    let error = second.try_recv().unwrap().unwrap().unwrap_err();
    assert_eq!(error.as_str(), r#"{"code":1,"message":"b"}"#);
}

#[tokio::test]
async fn a_second_answer_and_an_answer_to_nothing_change_nothing() {
    let all = fixture();
    let (mut first, mut second) = (all.call(), all.call());
    let rest = all
        .read_text(
            r#"{"jsonrpc":"2.0","id":1,"result":1}
{"jsonrpc":"2.0","id":1,"result":2}
{"jsonrpc":"2.0","id":99,"result":3}
{"jsonrpc":"2.0","id":"2","result":4}
"#,
        )
        .await;
    assert_eq!(result(&mut first), "1");
    assert!(is_open(&mut second), "\"2\" is not the id 2");
    assert_eq!(rest.n_noise, 0);
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    assert_eq!(
        (count(&rest.noise.n_repeated), count(&rest.noise.n_unasked)),
        (1, 2)
    );
}

#[tokio::test]
async fn an_answer_that_is_no_valid_message_is_told_to_its_caller() {
    let all = fixture();
    let mut calls = [all.call(), all.call(), all.call(), all.call()];
    let rest = all
        .read_text(
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"\xff\"}\n\
            {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":1,\"error\":{}}\n\
            {\"jsonrpc\":\"1.0\",\"id\":3,\"result\":1}\n\
            {\"jsonrpc\":\"2.0\",\"id\":4}\n",
        )
        .await;
    for answer in &mut calls {
        assert!(is_bad(answer), "{answer:?}");
    }
    assert_eq!(rest.n_noise, 0);
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_told_to_its_caller() {
    let all = fixture();
    let (mut first, mut second, mut third) = (all.call(), all.call(), all.call());
    let rest = all
        .read_text(
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"x\":NaN}}\n\
            {\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{\"text\":\"a raw\n\
            line break\"}}\n\
            {\"id\":3,\"level\":\"info\",\n",
        )
        .await;
    assert!(is_bad(&mut first) && is_bad(&mut second));
    assert!(is_open(&mut third), "a line of a log is no answer");
    assert_eq!(rest.n_noise, 2, "the rest of the second, and the log");
}

#[tokio::test]
async fn a_bad_request_of_the_childs_own_ends_no_call_of_ours() {
    let all = fixture();
    let mut answer = all.call();
    let rest = all
        .read_text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}\n{\"id\":1,\"method\":\"roots/list\"}\n")
        .await;
    assert!(is_open(&mut answer));
    assert_eq!(rest.n_noise, 2);
}

#[tokio::test]
async fn a_too_long_answer_is_told_to_its_caller_wherever_its_id_stands() {
    let all = fixture();
    let (mut first, mut second, mut third) = (all.call(), all.call(), all.call());
    let long = "x".repeat(20_000);
    let text = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"{long}\"}}\n\
        {{\"jsonrpc\":\"2.0\",\"result\":[{{\"id\":3}},\"{long}\"],\"id\":2}}\n\
        {{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":3}}\n"
    );
    all.read_text(text).await;
    for answer in [&mut first, &mut second] {
        let Ok(Err(CallError::TooLarge { n_bytes, n_bytes_max })) = answer.try_recv() else {
            panic!("{answer:?}")
        };
        assert!(n_bytes > 20_000 && n_bytes_max == 10_000);
    }
    assert_eq!(result(&mut third), "3");
}

// === Everything else ===

#[tokio::test]
async fn lines_that_are_no_messages_are_counted_shown_and_skipped() {
    let all = fixture();
    let mut answer = all.call();
    let rest = all
        .read_text("Server running\u{1b}[31m\n\n{}\n[]\n7\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n")
        .await;
    assert_eq!(result(&mut answer), "{}");
    assert_eq!(rest.n_noise, 4, "a blank line is nothing");
    assert_eq!(rest.shown, ["Server running\\x1b[31m", "{}", "[]", "7"]);
}

#[tokio::test]
async fn half_a_line_at_the_end_is_no_message() {
    let all = fixture();
    let mut answer = all.call();
    let rest = all
        .read_text("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}")
        .await;
    assert!(is_open(&mut answer), "without its newline it may be half of one");
    assert_eq!(rest.n_noise, 0);
}

#[tokio::test]
async fn a_ping_is_answered_at_once_and_other_requests_go_to_the_hub() {
    let all = fixture();
    let mut rest = all
        .read_text(
            r#"{"jsonrpc":"2.0","id":"p","method":"ping"}
{"jsonrpc":"2.0","id":5,"method":"roots/list"}
{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}
"#,
        )
        .await;
    assert_eq!(rest.posted(), [r#"{"jsonrpc":"2.0","id":"p","result":{}}"#]);
    let Some((_, FromChild::Request { request, .. })) = rest.hub.recv().await else {
        panic!("no request")
    };
    assert_eq!(request.method.as_str(), "roots/list");
    let Some((_, FromChild::Notification { notification, .. })) = rest.hub.recv().await else {
        panic!("no notification")
    };
    assert_eq!(notification.method.as_str(), "notifications/tools/list_changed");
}

#[tokio::test]
async fn our_own_greeting_that_comes_back_is_a_bad_answer_and_no_question() {
    let all = fixture();
    let mut answer = all.call();
    let mut rest = all
        .read_text("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{}}\n")
        .await;
    assert!(is_bad(&mut answer), "{answer:?}");
    assert!(rest.posted().is_empty() && rest.hub.try_recv().is_err());
}

#[tokio::test]
async fn a_request_for_which_there_is_no_room_is_answered_with_an_error() {
    let all = fixture();
    let request = |id: u32| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"roots/list\"}}\n");
    let mut answer = all.call();
    let mut text: String = (1..=3).map(request).collect();
    text.push_str("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
    let mut rest = all.read_text(text).await;
    let posted = rest.posted();
    assert_eq!(posted.len(), 1);
    assert!(
        posted[0].starts_with(r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32603"#),
        "{posted:?}"
    );
    assert_eq!(result(&mut answer), "{}", "the reader goes on");
}

// === A stream that fails ===

/// A stream that does what is written here, step by step, and is silent for ever after.
struct Script(VecDeque<Step>);

enum Step {
    Bytes(&'static str),
    Fail,
    Interrupt,
    End,
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0.pop_front() {
            Some(Step::Bytes(text)) => buf.put_slice(text.as_bytes()),
            Some(Step::Fail) => return Poll::Ready(Err(io::Error::other("broken pipe dream"))),
            Some(Step::Interrupt) => return Poll::Ready(Err(io::ErrorKind::Interrupted.into())),
            Some(Step::End) => {}
            None => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }
}

async fn time_to_end(script: Vec<Step>) -> (u64, Ended) {
    let begun = Instant::now();
    let (ended, _) = fixture().read(Script(script.into())).await;
    (begun.elapsed().as_secs(), ended)
}

fn fails(n: usize) -> impl Iterator<Item = Step> {
    std::iter::repeat_with(|| Step::Fail).take(n)
}

#[tokio::test(start_paused = true)]
async fn errors_in_a_row_are_met_with_growing_patience_and_the_sixth_is_one_too_many() {
    for (n, waited) in [(1, 2), (2, 2 + 4), (3, 14), (4, 30), (5, 60)] {
        let script = fails(n).chain([Step::End]).collect();
        assert_eq!(time_to_end(script).await, (waited, Ended::Closed), "{n} errors");
    }
    let (waited, ended) = time_to_end(fails(6).collect()).await;
    assert_eq!(waited, 60);
    let Ended::Broken(Cause::Garbled { why }) = ended else {
        panic!("{ended:?}")
    };
    assert!(why.contains("broken pipe dream"));
}

#[tokio::test(start_paused = true)]
async fn a_good_line_starts_the_patience_anew_and_nothing_less_does() {
    let good = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n";
    let with = |text| {
        let script = fails(5).chain([Step::Bytes(text)]).chain(fails(1));
        script.chain([Step::End]).collect::<Vec<_>>()
    };
    assert_eq!(time_to_end(with(good)).await, (62, Ended::Closed));
    for poor in ["noise\n", "{\"jsonrpc\":"] {
        let (waited, ended) = time_to_end(with(poor)).await;
        assert!(
            waited == 60 && matches!(ended, Ended::Broken(_)),
            "{poor}: {ended:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_read_is_no_error() {
    let script = std::iter::repeat_with(|| Step::Interrupt).take(20);
    assert_eq!(
        time_to_end(script.chain([Step::End]).collect()).await,
        (0, Ended::Closed)
    );
}

#[tokio::test]
async fn a_line_without_an_end_is_given_up() {
    let (ended, _) = fixture().read(vec![b'x'; 200_000].as_slice()).await;
    assert!(matches!(ended, Ended::Broken(Cause::Garbled { .. })), "{ended:?}");
}

// === Being told to stop ===

#[tokio::test]
async fn it_stops_under_an_endless_stream() {
    let (mut child, stdout) = tokio::io::duplex(4096);
    let stop = CancellationToken::new();
    let talk = async { while child.write_all(b"never a message, never an end\n").await.is_ok() {} };
    let all = fixture();
    let (noise, heard) = (Arc::clone(&all.noise), stop.clone());
    let on_noise = move |_| {
        if noise.n_lines.load(Ordering::Relaxed) > 10_000 {
            heard.cancel();
        }
    };
    let (ended, ()) = tokio::join!(all.reader.run(stdout, stop, on_noise), talk);
    assert_eq!(ended, Ended::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn it_stops_while_it_is_silent_and_while_it_is_patient() {
    let begun = Instant::now();
    let silent: (DuplexStream, DuplexStream) = tokio::io::duplex(16);
    let stop = CancellationToken::new();
    stop.cancel();
    let ended = fixture().reader.run(silent.1, stop, |_| {}).await;
    assert_eq!(ended, Ended::Cancelled);
    let stop = CancellationToken::new();
    let patient = Script(fails(5).collect());
    let later = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(fixture().reader.run(patient, stop.clone(), |_| {}), later);
    assert_eq!((ended, begun.elapsed().as_secs()), (Ended::Cancelled, 3));
}
