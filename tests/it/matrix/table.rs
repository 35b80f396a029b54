//! The features of the matrix: what is asserted of each, and by which function.

use std::pin::Pin;

use super::cell::{Cell, Outcome};
use super::{asks, base, payloads, tasks};

type Running = Pin<Box<dyn Future<Output = Outcome>>>;

/// One feature.
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    /// What is asserted, in a sentence for `docs/compatibility.md`.
    pub(crate) says: &'static str,
    /// What asserts it in a cell.
    pub(crate) run: fn(Cell) -> Running,
}

/// `name, sentence, function;` once a feature.
macro_rules! features {
    ($($name:literal, $says:literal, $run:path;)*) => {
        &[$(Feature { name: $name, says: $says, run: |cell| Box::pin($run(cell)) },)*]
    };
}

/// All features, in the order in which they run.
///
/// `cancel` and `crash` come last: a call that was cancelled may go on in a child that answers nothing more, and until
/// that is ruled out (30 s, or a new process) what a shared child asks or logs reaches no other client.
pub(crate) const FEATURES: &[Feature] = features! {
    "handshake", "The client is answered with its own revision; the child is greeted once per process, offered 2025-11-25, answers with its own revision, and is told `initialized`. A client of 2026-07-28 finds its revision in `server/discover`; a child of it is asked the same, and never greeted.", base::handshake;
    "ping", "Answered under the client's id; 2026-07-28 has none: -32601, over HTTP with the status 404, and a child of it is never sent one.", base::ping;
    "lists", "Tools, prompts, resources and templates of all children are merged, whatever pages the children make; a list longer than a page has a cursor; an unknown cursor is refused with -32602.", base::lists;
    "listed members", "`annotations`, `title`, `outputSchema`, `_meta` and `icons` are there exactly when the child's revision has them.", base::listed_members;
    "equal lists", "Two sessions are sent the same bytes.", base::equal_lists;
    "call", "Arguments arrive, and the result comes back.", base::call_tool;
    "read", "A resource, and one that a template names, under its own URI.", base::read;
    "get", "A prompt with its arguments.", base::get;
    "complete", "For a prompt and for a template, also where the revision has no capability for it; `context` reaches children whose revision has it.", base::complete;
    "isError and errors", "`isError: true` stays a result; an error of the child arrives byte for byte.", base::is_error;
    "missing", "Unknown tool and prompt -32602, unknown resource -32002 (to clients of 2026-07-28 -32602 with its URI), unknown method -32601.", base::missing;
    "ids", "`0`, the empty text, `\"1\"`, `1`, 2^53+1, `-7` and an escaped text come back as they were written.", base::ids;
    "fidelity", "Unknown members, unknown `_meta`, nulls, big numbers, escapes and the order of keys arrive byte for byte, both ways; clients and children of 2026-07-28 get what their revision has in each message besides.", base::fidelity;
    "newer members", "To clients with a handshake no answer has `resultType`, `ttlMs`, `cacheScope` or `inputRequests`; to those without one every result has `resultType`, and those that may be kept, and no others, say how long and by whom.", base::newer_members;
    "progress", "Under the client's token, whose type is kept (`\"7\"`, `7`, `0`), before the answer, on the way of the call; the child never sees that token.", base::progress;
    "list_changed", "Told after a tool came, and after it went; the list says the same. A client of 2026-07-28 hears it on the stream that it has opened, under its id.", base::list_changed;
    "resource update", "Told to who subscribed, for the resource in question only; the child is asked once, and told when nobody listens any more; where a revision has no subscriptions, streams of changes are opened and ended in their place.", base::updated;
    "log level", "Messages of the chosen level come with the child's name, those below it do not; an unknown level is refused with -32602. A client of 2026-07-28 says the level with each call, and hears of that call only, before its answer.", base::level;
    "text, image, resource", "Blocks that every revision has arrive as they are, from tools and in prompts.", payloads::plain_blocks;
    "audio", "Arrives as it is where both know it; for a client of 2024-11-05 it is a text with type and size (`a`).", payloads::audio;
    "resource link", "Arrives as it is where both know it; for older clients it is a text with name and URI (`r`).", payloads::link;
    "structured content", "Arrives as it is, and the text beside it.", payloads::structured;
    "structured values", "Values that are no objects arrive as they are; for clients with a handshake they stand under `result`, and the schema says so and still leads where it led (`j`).", payloads::structured_values;
    "sampling", "The client is asked on the way of the call, byte for byte; the child hears its result, and its error, as written. A child of 2026-07-28 cannot be told an error: the call ends with `isError`.", asks::sampling;
    "sampling with tools", "Reaches clients that declared it; for all others the child hears -32602 (`s⁻`).", asks::sampling_with_tools;
    "content of sampling", "Audio and messages with several blocks arrive as they are where both know them; for a client of 2024-11-05 audio is a text, and of several blocks the child hears -32602 unless the client is of 2025-11-25 (`s⁻`).", asks::sampling_content;
    "roots", "Each session has a process of its own, which is told what its client can do, and hears that client's folders and that they changed; a shared process is promised none. Clients of 2026-07-28 over HTTP cannot be told apart, and are asked each by itself in a shared process.", asks::roots;
    "form elicitation", "The client is asked, with the child's name before the message; where its revision has none, the child hears -32601 and goes on (`e⁻`); a child of 2026-07-28 refuses the call, as it knows that.", asks::form;
    "choices in forms", "Titled and multiple choices arrive as they are; for a client of 2025-06-18 titled ones become `enum` with `enumNames`, and multiple ones are refused with -32602 (`E↓`).", asks::choices;
    "URL elicitation", "The client is asked, and told of the end; the id is there in 2025-11-25 only, where it is made up for children of 2026-07-28; older clients are not asked, and the child hears an error (`u⁻`).", asks::url;
    "URL needed first", "The error -32042 arrives as it is; for older clients it is a failed result whose text names the URL (`u⁻`), and a client of 2026-07-28 is asked to open it and the call is made again.", asks::url_needed;
    "client without abilities", "Is asked nothing, whatever the child's revision; the child hears -32601, or refuses the call itself (`e⁻`).", asks::unable;
    "two questions at once", "Both are open at the same time (for a client of 2026-07-28 in one result), and each answer reaches the question it belongs to.", asks::two_at_once;
    "three questions in a row", "Asked one after the other during one call; a client of 2026-07-28 is given a state of its own with each.", asks::three_in_a_row;
    "bound state", "A changed `requestState`, and one that comes with another tool or other arguments, is refused with -32602 and not used up; where the child waits for the answer, it is taken once.", asks::bound_state;
    "batch of the client", "In 2025-03-26 all its requests are answered, and the child gets them one by one (`batch`); in every other revision it is refused with -32600 and nothing of it is carried out (`refused`).", payloads::batch_in;
    "batch of the child", "The messages of its array go out one by one.", payloads::batch_out;
    "event stream", "What belongs to no request comes on the session's own stream, which ends with the session.", payloads::streamed;
    "resumption", "A broken stream goes on after the last event, and nothing is lost, told twice or cancelled; only clients of 2025-11-25 are sent an event without data.", payloads::resumed;
    "tasks", "Made, asked after, answered, fetched and cancelled under an id of ours, in the words of the client's revision, whichever kind of tasks the child has (`T`); a client of 2025-11-25 also lists its own, and no other session sees them. For clients that know none, a tool that needs one is driven to its end (`t°`); only a child of 2026-07-28 may say to a client of its own revision that it has to know them.", tasks::tasks;
    "cancel", "The child is told under its own id of the call, and stops; the session goes on.", base::cancel;
    "crash", "The call is answered once, with an error, and the next call finds a new process.", base::crash;
};
