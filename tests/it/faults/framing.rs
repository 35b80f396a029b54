//! Framing: bytes on stdout that are no good lines (F).

use serde_json::{Value, json};

use super::{Case, case};
use crate::harness::fake::{Fake, quoted};
use crate::harness::{Daemon, HttpClient, LineClient, Setup, call, fake, text_of};

/// The cases of this group, in the order of their ids.
pub(super) const CASES: &[Case] = &[
    Case {
        id: "F01",
        provoked: "banners and noise on stdout",
        promised: "calls work; the lines are counted in `status` and never reach a client",
        test: "faults::framing::f01_noise_is_counted_and_reaches_no_client",
    },
    Case {
        id: "F02",
        provoked: "a line that is no UTF-8",
        promised: "skipped and counted, and escaped in the log at debug level; the call is answered",
        test: "faults::framing::f02_a_line_that_is_no_text_is_skipped",
    },
    Case {
        id: "F03",
        provoked: "an answer with a byte that is no UTF-8",
        promised: "1007 at once, as the id can be made out; the text is not repaired silently; the process lives",
        test: "noise::an_answer_that_is_no_text_is_the_servers_fault_and_told_at_once",
    },
    Case {
        id: "F03b",
        provoked: "an answer that is no JSON: `NaN`, a raw line break in a text, an end that is missing",
        promised: "1007 at once where its id can be made out, and only to who waits for it; a line of a log with an id is no answer",
        test: "faults::framing::f03b_an_answer_that_is_no_json_is_told_to_its_caller_at_once",
    },
    Case {
        id: "F04",
        provoked: "an answer of 100 MB",
        promised: "1006; the daemon's memory grows by less than twice `message_bytes_max` (16 MiB); the process lives",
        test: "faults::framing::f04_a_huge_answer_costs_little_memory",
    },
    Case {
        id: "F05",
        provoked: "a line without an end",
        promised: "1001, and the process is replaced after `discard_bytes_max` (256 MiB); memory as in F04",
        test: "faults::framing::f05_a_line_without_an_end_costs_the_process",
    },
    Case {
        id: "F06",
        provoked: "it exits in the middle of a line",
        promised: "1001; what there was is in the log, and is not taken for an answer, even if only the end of the line is missing",
        test: "faults::framing::f06_a_line_without_its_end_is_no_answer",
    },
    Case {
        id: "F07",
        provoked: "half a line and a pause; one byte at a time; several lines at once",
        promised: "the exact answers",
        test: "faults::framing::f07_chunks_make_no_difference",
    },
    Case {
        id: "F08",
        provoked: "NUL bytes, `\\r\\n`, a byte order mark at the start",
        promised: "a line of NULs is noise; the others are accepted",
        test: "faults::framing::f08_odd_ends_and_beginnings_are_accepted",
    },
    Case {
        id: "F09",
        provoked: "JSON that is 100,000 levels deep",
        promised: "passed on byte for byte, as it is never taken apart; without its end it is noise",
        test: "faults::framing::f09_deep_json_overflows_nothing",
    },
    Case {
        id: "F10",
        provoked: "answers in an array",
        promised: "each counts, whatever the revision",
        test: "faults::framing::f10_answers_in_an_array_are_answers",
    },
    Case {
        id: "F11",
        provoked: "a program that repeats its input, such as `cat`",
        promised: "never ready; the error says so; it is not answered for ever",
        test: "faults::framing::f11_a_program_that_repeats_its_input_is_found_out",
    },
    Case {
        id: "F12",
        provoked: "arguments of 1 MiB, also to a server that reads slowly",
        promised: "delivered byte for byte",
        test: "faults::framing::f12_a_mebibyte_of_arguments_arrives",
    },
    Case {
        id: "F13",
        provoked: "U+2028, lone surrogates, 2^53+1, 1e400, -0, repeated keys",
        promised: "passed on as written, or refused; never altered",
        test: "fidelity::any_value::any_value_keeps_its_bytes_in_every_place_and_through_every_door",
    },
];

async fn noise(daemon: &Daemon) -> u64 {
    daemon.server("a").await["n_noise_lines"].as_u64().unwrap()
}

#[tokio::test]
async fn f01_noise_is_counted_and_reaches_no_client() {
    case("F01");
    let noisy = fake("a").tools("junk,echo").arg("--noise", "5");
    let daemon = Daemon::start(&[noisy]).await;
    let mut client = LineClient::greeted(&daemon.setup).await;
    let before = noise(&daemon).await;
    assert!(before >= 5, "the banner: {before}");
    let answer = client.ask_json(&call(1, "a__junk", json!({ "lines": 50 }))).await;
    assert_eq!(text_of(&answer), r#"{"lines":50}"#);
    assert_eq!(noise(&daemon).await, before + 51);
    let answer = client.ask_json(&call(2, "a__echo", json!({}))).await;
    assert_eq!(answer["id"], 2, "{answer}");
    let (rest, _) = client.finish().await;
    assert!(rest.is_empty(), "{rest:?}");
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}

#[tokio::test]
async fn f02_a_line_that_is_no_text_is_skipped() {
    case("F02");
    let setup = Setup::new(&[fake("a").tools("invalid_utf8_line")]);
    let daemon = setup.variable("LOG_LEVEL", "debug").start().await;
    daemon.ready("a").await;
    let client = daemon.http().await;
    let answer = client.call("a__invalid_utf8_line", json!({})).await;
    assert_eq!(text_of(&answer), "{}");
    assert_eq!(noise(&daemon).await, 1);
    let log = daemon.log();
    let line = log.lines().find(|line| line.contains("no message"));
    let line = line.unwrap_or_else(|| panic!("not in the log:\n{log}"));
    assert!(
        line.contains(r"x1b[31m no text") && !line.contains('\u{1b}'),
        "{line}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn f03b_an_answer_that_is_no_json_is_told_to_its_caller_at_once() {
    case("F03b");
    let tools = "not_a_number,raw_line_break,cut_short,log_like,hang,echo";
    let patient = fake("a").tools(tools).key("call_timeout", "\"300s\"");
    let daemon = Daemon::start(&[patient.key("call_max", "\"300s\"")]).await;
    let mut other = LineClient::greeted(&daemon.setup).await;
    other.send(&call(1, "a__hang", json!({}))).await;
    daemon.setup.called("a", "hang").await;
    let client = daemon.http().await;
    for tool in ["not_a_number", "raw_line_break", "cut_short"] {
        let answer = client.call(&format!("a__{tool}"), json!({})).await;
        assert_eq!(answer["error"]["code"], 1007, "{tool}: {answer}");
    }
    assert_eq!(noise(&daemon).await, 1, "the rest after the line break");
    assert_eq!(text_of(&client.call("a__log_like", json!({})).await), "{}");
    assert_eq!(noise(&daemon).await, 2);
    let server = daemon.server("a").await;
    assert_eq!(
        (&server["generation"], &server["n_inflight"]),
        (&json!(1), &json!(1)),
        "{server}"
    );
    let ping = r#"{"jsonrpc":"2.0","id":2,"method":"ping"}"#;
    assert_eq!(other.ask_json(ping).await["id"], 2, "it was told nothing");
    drop(other);
    daemon.end().await;
}

/// The most memory that a process has ever held, bytes.
fn peak(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

const MESSAGE_BYTES_MAX: usize = 8 << 20;

fn long(tool: &str) -> Fake {
    fake("a")
        .tools(&format!("{tool},echo"))
        .key("message_bytes_max", &MESSAGE_BYTES_MAX.to_string())
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn f04_a_huge_answer_costs_little_memory() {
    case("F04");
    let huge = long("huge_line").key("discard_bytes_max", "200000000");
    let daemon = Daemon::start(&[huge]).await;
    let client = daemon.http().await;
    // What a call needs anyway.
    text_of(&client.call("a__echo", json!({})).await);
    let before = peak(&daemon);
    let answer = client.call("a__huge_line", json!({ "bytes": 100_000_000 })).await;
    assert_eq!(answer["error"]["code"], 1006, "{answer}");
    assert!(
        answer["error"]["message"].as_str().unwrap().contains("8388608"),
        "{answer}"
    );
    let grown = peak(&daemon) - before;
    eprintln!("{grown} bytes more at the peak");
    assert!(grown < 2 * MESSAGE_BYTES_MAX, "{grown}");
    assert_eq!(
        text_of(&client.call("a__echo", json!({ "n": 1 })).await),
        r#"{"n":1}"#
    );
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn f05_a_line_without_an_end_costs_the_process() {
    case("F05");
    let endless = long("endless_line").key("discard_bytes_max", "50000000");
    let daemon = Daemon::start(&[endless]).await;
    let client = daemon.http().await;
    text_of(&client.call("a__echo", json!({})).await);
    let (before, pid) = (peak(&daemon), daemon.child_pid("a").await);
    let answer = client.call("a__endless_line", json!({})).await;
    assert_eq!(answer["error"]["code"], 1001, "{answer}");
    let told = answer["error"]["message"].as_str().unwrap();
    assert!(
        told.contains("a line without an end: more than 50000000 bytes"),
        "{told}"
    );
    let grown = peak(&daemon) - before;
    eprintln!("{grown} bytes more at the peak");
    assert!(grown < 2 * MESSAGE_BYTES_MAX, "{grown}");
    assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    assert_ne!(daemon.child_pid("a").await, pid);
    assert!(!daemon.setup.processes().contains(&pid));
    daemon.end().await;
}

#[tokio::test]
async fn f06_a_line_without_its_end_is_no_answer() {
    case("F06");
    let daemon = Daemon::start(&[fake("a").tools("half_line_exit,half_line,echo")]).await;
    let client = daemon.http().await;
    for tool in ["a__half_line", "a__half_line_exit"] {
        let answer = client.call(tool, json!({ "tool": tool })).await;
        assert_eq!(answer["error"]["code"], 1001, "{answer}");
        assert_eq!(answer["error"]["data"]["exit"], "exit code 1", "{answer}");
        assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    }
    let log = daemon.log();
    let told: Vec<_> = log
        .lines()
        .filter(|line| line.contains("stdout ended in the middle of a line"))
        .collect();
    assert_eq!(told.len(), 2, "{log}");
    assert!(told[0].contains("resu") && told[1].contains("result"), "{told:?}");
    daemon.end().await;
}

/// Two calls at once: both answers, as they came.
async fn two(client: &HttpClient, tool: &str) -> [String; 2] {
    let asked = |n: u64| call(n, tool, json!({ "n": n, "text": "\u{e9}\u{2028}\u{1f600}" }));
    let (one, two) = (asked(1), asked(2));
    tokio::join!(client.ask(&one), client.ask(&two)).into()
}

#[tokio::test]
async fn f07_chunks_make_no_difference() {
    case("F07");
    let daemon = Daemon::start(&[fake("a").tools("half_line_stall,byte_dribble,glued_lines,echo")]).await;
    let client = daemon.http().await;
    let wanted = two(&client, "a__echo").await;
    assert!(
        wanted[0].starts_with(r#"{"jsonrpc":"2.0","id":1,"result":"#),
        "{wanted:?}"
    );
    for tool in ["a__half_line_stall", "a__byte_dribble", "a__glued_lines"] {
        assert_eq!(two(&client, tool).await, wanted, "{tool}");
    }
    assert_eq!(noise(&daemon).await, 0);
    daemon.end().await;
}

#[tokio::test]
async fn f08_odd_ends_and_beginnings_are_accepted() {
    case("F08");
    let odd = fake("a").tools("nul_bytes,echo").flag("--bom").flag("--crlf");
    let daemon = Daemon::start(&[odd]).await;
    let client = daemon.http().await;
    assert_eq!(noise(&daemon).await, 0);
    let answer = client.ask(&call(1, "a__echo", json!({}))).await;
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"text":"{}","type":"text"}]}}"#
    );
    assert_eq!(noise(&daemon).await, 0);
    assert_eq!(text_of(&client.call("a__nul_bytes", json!({})).await), "{}");
    assert_eq!(noise(&daemon).await, 1);
    daemon.end().await;
}

#[tokio::test]
async fn f09_deep_json_overflows_nothing() {
    case("F09");
    const DEPTH: usize = 100_000;
    let daemon = Daemon::start(&[fake("a").tools("deep_json,echo")]).await;
    let deep = format!(
        r#"{{"content":[],"_meta":{{"x/deep":{}{}}}}}"#,
        "[".repeat(DEPTH),
        "]".repeat(DEPTH)
    );
    // Results for older clients are rewritten where they must be.
    for revision in ["2025-11-25", "2024-11-05"] {
        let mut client = HttpClient::new(&daemon.address);
        client.initialize(revision).await;
        let answer = client
            .ask(&call(1, "a__deep_json", json!({ "depth": DEPTH })))
            .await;
        let wanted = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{deep}}}"#);
        assert!(
            answer == wanted,
            "{revision}: {} bytes of {}",
            answer.len(),
            wanted.len()
        );
        assert_eq!(text_of(&client.call("a__echo", json!({})).await), "{}");
    }
    assert_eq!(noise(&daemon).await, 2);
    assert_eq!(daemon.server("a").await["generation"], 1);
    daemon.end().await;
}

#[tokio::test]
async fn f10_answers_in_an_array_are_answers() {
    case("F10");
    let all = [
        fake("a").tools("batch_response,echo"),
        fake("b")
            .tools("batch_response,echo")
            .arg("--revision", "2025-03-26"),
    ];
    let daemon = Daemon::start(&all).await;
    let client = daemon.http().await;
    for name in ["a", "b"] {
        let wanted = two(&client, &format!("{name}__echo")).await;
        assert_eq!(two(&client, &format!("{name}__batch_response")).await, wanted);
    }
    assert_eq!(noise(&daemon).await, 0);
    daemon.end().await;
}

#[tokio::test]
async fn f11_a_program_that_repeats_its_input_is_found_out() {
    case("F11");
    let setup = Setup::new(&[]);
    let cat = "[servers.a]\ncommand = \"cat\"\nbackoff_initial = \"20ms\"\nstart_timeout = \"300s\"\n";
    let other = fake("other").table(setup.path(), &setup.mark);
    setup.project.write("servers.toml", &format!("{cat}\n{other}"));
    let daemon = setup.start().await;
    daemon.ready("other").await;
    let server: Value = daemon.in_state("a", "failed").await;
    let cause = server["cause"].as_str().unwrap();
    assert!(cause.contains("it sends back what it is sent"), "{cause}");
    assert_eq!(server["generation"], 3, "{server}");
    let log = daemon.log();
    assert!(
        !log.contains("child{server=a}: mcp_wrapper::child::task: ready"),
        "{log}"
    );
    daemon.end().await;
}

#[tokio::test]
async fn f12_a_mebibyte_of_arguments_arrives() {
    case("F12");
    let all = [fake("a"), fake("slow").arg("--slow-read", "8192")];
    let daemon = Daemon::start(&all).await;
    let client = daemon.http().await;
    let text: String = (b'a'..=b'w').cycle().take(1 << 20).map(char::from).collect();
    let arguments = format!(r#"{{"text":{},"end":1.0e1}}"#, quoted(&text));
    for name in ["a", "slow"] {
        let line = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}__echo","arguments":{arguments}}}}}"#
        );
        let answer: Value = serde_json::from_str(&client.ask(&line).await).unwrap();
        assert!(text_of(&answer) == arguments, "{name}: it came back otherwise");
        let seen = daemon.setup.journal(name);
        assert!(
            seen.iter()
                .any(|line| line.starts_with("in ") && line.contains(&arguments)),
            "{name} saw something else"
        );
        assert_eq!(daemon.server(name).await["generation"], 1);
    }
    daemon.end().await;
}
