//! Single parts of the way that a message goes, so that a change can be seen where it was made.

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use mcp_wrapper::catalog::names::Naming;
use mcp_wrapper::catalog::part::Part;
use mcp_wrapper::catalog::snapshot::{Kind, Snapshot};
use mcp_wrapper::catalog::view::View;
use mcp_wrapper::child::Lane;
use mcp_wrapper::child::outgoing::{OutLine, Params};
use mcp_wrapper::ids::{ServerName, SessionId, WireId};
use mcp_wrapper::rpc::frame::Splitter;
use mcp_wrapper::rpc::message::response_line;
use mcp_wrapper::rpc::object::Object;
use mcp_wrapper::rpc::trace::Spans;
use mcp_wrapper::rpc::{Incoming, Raw, RequestId, Text};

/// Bytes of text in a message: a small one, a page, a file.
const SIZES: [usize; 3] = [32, 16 << 10, 1 << 20];

fn main() {
    divan::main();
}

fn call(n: usize) -> Bytes {
    let text = "x".repeat(n);
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":1000000001,"method":"tools/call","params":{{"name":"echo__echo","arguments":{{"text":"{text}"}}}}}}"#
    ))
}

fn answer(n: usize) -> Bytes {
    let text = "x".repeat(n);
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":17,"result":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#
    ))
}

fn params(n: usize) -> Raw {
    let text = "x".repeat(n);
    let text = format!(r#"{{"name":"echo__echo","arguments":{{"text":"{text}"}}}}"#);
    Raw::parse(&text.into()).expect("JSON")
}

/// Lines out of reads as large as a pipe gives them.
#[divan::bench(args = SIZES)]
fn framer(bencher: Bencher<'_, '_>, n: usize) {
    let line = [answer(n), Bytes::from_static(b"\n")].concat();
    bencher.counter(BytesCount::new(line.len())).bench_local(|| {
        let mut splitter = Splitter::new(16 << 20, 16 << 20);
        for piece in line.chunks(64 << 10) {
            splitter.room().extend_from_slice(piece);
        }
        black_box(splitter.next_line())
    });
}

#[divan::bench(args = SIZES)]
fn envelope_of_a_call(bencher: Bencher<'_, '_>, n: usize) {
    let text = call(n);
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| black_box(Incoming::parse(&text)));
}

#[divan::bench(args = SIZES)]
fn envelope_of_an_answer(bencher: Bencher<'_, '_>, n: usize) {
    let text = answer(n);
    bencher
        .counter(BytesCount::new(text.len()))
        .bench_local(|| black_box(Incoming::parse(&text)));
}

#[divan::bench(args = SIZES)]
fn members_of_an_object(bencher: Bencher<'_, '_>, n: usize) {
    let raw = params(n);
    bencher.bench_local(|| black_box(Object::of(&raw)));
}

/// The name replaced, our token and our span put in, and the line as it goes to the child.
#[divan::bench(args = SIZES)]
fn a_call_in_our_words(bencher: Bencher<'_, '_>, n: usize) {
    let (raw, spans, session) = (params(n), Spans::random(), SessionId::random());
    let mut buffer = Vec::new();
    bencher.bench_local(|| {
        let lane = Lane::new(session.clone(), RequestId::number(1), None);
        let renamed = Object::of(&raw).map(|object| object.with("name", &Raw::of(&"echo")));
        let params = Params::traced(renamed.as_ref(), &spans, &lane);
        buffer.clear();
        OutLine::Call {
            id: WireId(17),
            method: Text::fixed("tools/call"),
            params,
        }
        .write_to(&mut buffer);
        black_box(buffer.len())
    });
}

#[divan::bench(args = SIZES)]
fn an_answer_under_the_clients_id(bencher: Bencher<'_, '_>, n: usize) {
    let Ok(raw) =
        Raw::parse(&format!(r#"{{"content":[{{"type":"text","text":"{}"}}]}}"#, "x".repeat(n)).into())
    else {
        return;
    };
    let (id, outcome) = (RequestId::number(1), Ok(raw));
    bencher.bench_local(|| black_box(response_line(Some(&id), &outcome)));
}

/// Fifty servers with forty tools each.
fn view() -> View {
    let tool = |n: usize| {
        let text = format!(
            r#"{{"name":"t{n}","description":"The tool number {n}.","inputSchema":{{"type":"object","properties":{{"text":{{"type":"string"}}}}}}}}"#
        );
        Raw::parse(&text.into()).expect("JSON")
    };
    let tools: Vec<Raw> = (0..40).map(tool).collect();
    let parts = (0..50).map(|n| {
        let mut snapshot = Snapshot {
            server_info: None,
            capabilities: Raw::empty_object(),
            instructions: None,
            tools: Vec::new(),
            prompts: Vec::new(),
            resources: Vec::new(),
            templates: Vec::new(),
            warnings: Vec::new(),
            is_modern: false,
        };
        snapshot.take(Kind::Tools, &tools);
        let naming = Naming {
            prefix: format!("s{n}"),
            aliases: std::sync::Arc::default(),
        };
        Part::new(
            ServerName::parse(&format!("s{n}")).expect("a name"),
            naming,
            snapshot.into(),
        )
    });
    View::merge(parts.collect())
}

#[divan::bench]
fn a_name_among_2000(bencher: Bencher<'_, '_>) {
    let view = view();
    bencher.bench_local(|| black_box(view.list(Kind::Tools).owner(black_box("s33__t17"))));
}

/// All lists merged and serialised: once for each change of one of them.
#[divan::bench]
fn lists_of_50_servers_as_one(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| black_box(view()));
}
