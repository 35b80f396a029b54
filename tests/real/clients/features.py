"""Everything that a Python client can do with a server, one feature a check, through the gateway.

    features.py CASE GATEWAY.json mcp|fastmcp|langchain http|sse|stdio…

Behind the gateway is one reference server twice: `every`, whose process all clients share, and `own`, of which each
session has its own process. Two clients are connected throughout, so that what belongs to one of them can be seen
not to reach the other.
"""

import asyncio
import base64
import json
import random
import sys
from importlib import import_module
from pathlib import Path

from peer import Inbox, Peer, Wire
from report import CHECK_SECONDS, FeatureReport, expect

TOOLS = {
    *("echo", "get-annotated-message", "get-env", "get-resource-links", "get-resource-reference"),
    *("get-structured-content", "get-sum", "get-tiny-image", "gzip-file-as-resource", "simulate-research-query"),
    *("toggle-simulated-logging", "toggle-subscriber-updates", "trigger-elicitation-request"),
    *("trigger-long-running-operation", "trigger-sampling-request", "trigger-url-elicitation"),
}
PROMPTS = {"simple-prompt", "args-prompt", "completable-prompt", "resource-prompt"}
DOCUMENT = "demo://resource/static/document/"
DOCUMENTS = {"architecture", "extension", "features", "how-it-works", "instructions", "startup", "structure"}
TEMPLATES = {"demo://resource/dynamic/text/{resourceId}", "demo://resource/dynamic/blob/{resourceId}"}
OF_OWN = "?mcp-server=own"  # the gateway's mark on a URI that two servers have
LEVELS = ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
LONG = "every__trigger-long-running-operation"
PAYLOAD_BYTES = 5 * 1024 * 1024
EVENT_REST_BYTES = 4096  # what an event has besides the text of its answer, and some room
N_PARALLEL = 100
N_TOGGLES = 24


def of_both(prefix_less: set[str]) -> set[str]:
    return {f"{server}__{name}" for server in ("every", "own") for name in prefix_less}


def payload(n_bytes: int) -> str:
    """A text that has so many bytes as UTF-8, with what needs an escape in JSON."""
    unit = '0123456789 ünïcödé 🦀 "quoted" \\ \t\n'
    n_units, n_more = divmod(n_bytes, len(unit.encode()))
    return unit * n_units + "." * n_more


class Features:
    def __init__(self, first: Peer, other: Peer, case: str, gateway: dict) -> None:
        self.first = first
        self.other = other
        # In what is sent, so that nobody else's can be taken for it; also in a URI, hence without spaces.
        self.tag = "-".join((*case.split(), f"{random.getrandbits(32):08x}"))
        self.every = Wire(gateway["tapes"], "every")
        self.own = Wire(gateway["tapes"], "own")

    async def lists(self) -> None:
        tools = [tool["name"] for tool in await self.first.tools() if tool["name"].startswith(("every__", "own__"))]
        due = of_both(TOOLS) | {"own__get-roots-list"}  # listed where clients have processes of their own only
        expect(set(tools) == due and len(tools) == len(due), tools)
        documents = {f"{DOCUMENT}{name}.md" for name in DOCUMENTS}
        for what, listed, due in (
            ("prompts", self.first.prompts, of_both(PROMPTS)),
            ("resources", self.first.resources, documents | {uri + OF_OWN for uri in documents}),
            ("templates", self.first.templates, TEMPLATES | {uri + OF_OWN for uri in TEMPLATES}),
        ):
            if what in self.first.lists:
                names = [one.get("uriTemplate") or one.get("uri") or one["name"] for one in await listed()]
                expect(set(names) == due and len(names) == len(due), names)

    async def calls(self) -> None:
        said = await self.first.said("every__echo", {"message": f"grüße 🦀 {self.tag}"})
        expect(said == f"Echo: grüße 🦀 {self.tag}", said)
        said = await self.first.said("own__get-sum", {"a": 19, "b": 23})
        expect("42" in said, said)
        said, is_error = await self.first.call("every__get-sum", {"a": "nineteen", "b": 23})
        expect(is_error and "expected number" in said, said)

    async def reads(self) -> None:
        for uri in (f"{DOCUMENT}features.md", f"{DOCUMENT}features.md{OF_OWN}"):
            [contents] = await self.first.read(uri)
            expect(contents["uri"] == uri and contents["text"].startswith("# Everything Server"), contents)
        uri = "demo://resource/dynamic/text/7"
        [contents] = await self.first.read(uri)
        expect(contents["uri"] == uri and contents["text"].startswith("Resource 7: This is a plaintext"), contents)
        uri = f"demo://resource/dynamic/blob/8{OF_OWN}"
        [contents] = await self.first.read(uri)
        blob = base64.b64decode(contents["blob"])
        expect(contents["uri"] == uri and blob.startswith(b"Resource 8: This is a base64 blob"), contents)

    async def prompts(self) -> None:
        for server in ("every", "own"):
            text = await self.first.prompt(f"{server}__args-prompt", {"city": "Ulm", "state": self.tag})
            expect(text == f"What's weather in Ulm, {self.tag}?", text)

    async def completes(self) -> None:
        prompt = {"type": "ref/prompt", "name": "every__completable-prompt"}
        values = await self.first.complete(prompt, "department", "S")
        expect(values == ["Sales", "Support"], values)
        values = await self.first.complete(prompt, "name", "", {"department": "Sales"})
        expect(values == ["David", "Eve", "Frank"], values)
        for mark in ("", OF_OWN):
            template = {"type": "ref/resource", "uri": f"demo://resource/dynamic/text/{{resourceId}}{mark}"}
            values = await self.first.complete(template, "resourceId", "17")
            expect(values == ["17"], values)
            values = await self.first.complete(template, "resourceId", "no number")
            expect(values == [], values)

    async def sees_progress(self) -> None:
        """Two calls at once with progress, one without: each handler hears its own steps, in their order."""

        async def one(n_steps: int) -> None:
            seen = Inbox()
            await self.first.said(LONG, {"duration": 0.6, "steps": n_steps}, lambda *step: seen.put(step))
            due = [(i, n_steps) for i in range(1, n_steps + 1)]
            await seen.until(lambda steps: len(steps) >= n_steps)
            expect(seen.items == due, seen.items)

        await asyncio.gather(one(4), one(6), self.first.said(LONG, {"duration": 0.6, "steps": 5}))
        # Some libraries show all progress of the session; then each token has the steps of one call.
        by_token: dict = {}
        for step in self.first.ears.progress.items:
            by_token.setdefault(step["progressToken"], []).append((step["progress"], step["total"]))
        for steps in by_token.values():
            expect(steps == [(i, steps[0][1]) for i in range(1, len(steps) + 1)], by_token)
        totals = sorted(steps[0][1] for steps in by_token.values())
        expect(totals in ([], [4, 6], [4, 5, 6]), by_token)
        expect(self.other.ears.progress.items == [], self.other.ears.progress.items)

    async def cancels(self) -> None:
        """A call that is taken back is taken back from the server as well, which goes on with the next one at once."""
        long = {"duration": 25 + random.random(), "steps": 250}
        echo = {"message": f"after {self.tag}"}
        seen = Inbox()
        call = self.first.start(LONG, long, lambda *step: seen.put(step))
        await seen.until(lambda steps: len(steps) > 0)
        await self.first.take_back(call)

        def cancelled(messages: list[dict]) -> bool:
            ids = [m["id"] for m in messages if m.get("params", {}).get("arguments") == long]
            told = [m["params"]["requestId"] for m in messages if m.get("method") == "notifications/cancelled"]
            return len(ids) == 1 and told.count(ids[0]) == 1

        await self.every.until("the call and one cancellation of it", cancelled)
        said = await asyncio.wait_for(self.first.said("every__echo", echo), 2)
        expect(said == f"Echo: after {self.tag}", said)
        n_seen = len(seen.items)
        # The server goes on with its steps, ten a second, whatever it was told: a while in which they could come.
        await self.first.said(LONG, {"duration": 0.6, "steps": 1})
        expect(len(seen.items) == n_seen, seen.items)
        # It may wait on, or have ended in whatever way the library has for it, but not with an answer.
        call.cancel()
        [ended] = await asyncio.gather(call, return_exceptions=True)
        expect(isinstance(ended, BaseException), ended)
        [told] = [messages for messages in self.every.records() if cancelled(messages)]
        next_call = [m for m in told if m.get("params", {}).get("arguments") == echo]
        expect(len(next_call) == 1, "the next call did not reach the process of the first one")

    async def hears_its_level(self) -> None:
        """The other client wants everything, so the server says everything; ours hears what it asked for."""
        logs = self.first.ears.logs
        below_error = LEVELS[: LEVELS.index("error")]

        async def toggle(word: str) -> None:
            said = await self.first.said("own__toggle-simulated-logging")
            expect(said.startswith(word), said)

        async def one_message() -> None:
            await toggle("Started")
            await toggle("Stopped")

        await self.other.set_level("debug")
        await self.first.set_level("debug")
        # At this level each message comes. Their levels are random, so it takes some until one is below `error`.
        for n_due in range(1, 100):
            await one_message()
            said = await logs.until(lambda all: sum("essage" in str(m["data"]) for m in all) >= n_due)
            if said[-1]["level"] in below_error:
                break
        expect(any(message["level"] in below_error for message in logs.items), logs.items)
        for message in logs.items:
            expect(message["logger"].startswith("own"), message)
            expect(str(message["data"]).lower().startswith((message["level"], "roots updated")), message)

        await self.first.set_level("error")
        n_before = len(logs.items)
        for _ in range(N_TOGGLES):
            await one_message()
        await self.first.said("own__echo", {"message": "all of it has been read"})
        heard = [message["level"] for message in logs.items[n_before:]]
        # Each is one of eight, half of them are wanted: all or none by chance is once in millions of runs.
        expect(0 < len(heard) < N_TOGGLES, heard)
        expect(set(heard) <= set(LEVELS) - set(below_error), heard)

        await self.first.set_level("emergency")
        expect(self.other.ears.logs.items == [], self.other.ears.logs.items)

    async def nobody_is_suspected(self) -> None:
        """What was cancelled a moment ago may still ask: until that is ruled out, no client of the process is asked."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 35
        is_error = True
        while is_error and loop.time() < deadline:
            _said, is_error = await self.first.call("every__trigger-sampling-request", {"prompt": "?", "maxTokens": 1}, None)

    async def samples(self) -> None:
        ears = self.first.ears
        ears.sample = {
            "model": "a model",
            "stopReason": "endTurn",
            "role": "assistant",
            "content": {"type": "text", "text": f"The answer, {self.tag}"},
        }
        await self.nobody_is_suspected()
        prompt = f"A question, {self.tag}"
        for server in ("every", "own"):
            n_before = len(ears.sampled.items)
            said = await self.first.said(f"{server}__trigger-sampling-request", {"prompt": prompt, "maxTokens": 77})
            [asked] = ears.sampled.items[n_before:]
            text = f"Resource trigger-sampling-request context: {prompt}"
            expect(asked["messages"] == [{"role": "user", "content": {"type": "text", "text": text}}], asked)
            expect(asked["systemPrompt"] == "You are a helpful test server.", asked)
            expect(asked["maxTokens"] == 77 and asked["temperature"] == 0.7, asked)
            head, _, told = said.partition("\n")
            expect(head == "LLM sampling result: " and json.loads(told) == ears.sample, said)
        expect(self.other.ears.sampled.items == [], self.other.ears.sampled.items)

    async def elicits(self) -> None:
        ears = self.first.ears
        ears.elicit = {"action": "accept", "content": {"name": f"Ada {self.tag}", "integer": 7, "check": True}}
        for server in ("every", "own"):
            said = await self.first.said(f"{server}__trigger-elicitation-request")
            asked = ears.elicited.items[-1]
            # The gateway says which of its servers asks, because a person is to read it.
            expect(asked["message"] == f"[{server}] Please provide inputs for the following fields:", asked)
            schema = asked["requestedSchema"]
            expect(schema["required"] == ["name"] and len(schema["properties"]) == 13, schema)
            heroes = [one["title"] for one in schema["properties"]["titledSingleSelectEnum"]["oneOf"]]
            expect(heroes == ["Superman", "Green Lantern", "Wonder Woman"], schema)
            expect(f"- Name: Ada {self.tag}\n- Agreed to terms: true\n- Favorite Integer: 7" in said, said)
            expect(json.loads(said.partition("Raw result: ")[2]) == ears.elicit, said)
        ears.elicit = {"action": "decline"}
        said = await self.first.said("every__trigger-elicitation-request")
        expect("User declined to provide" in said, said)
        expect(len(ears.elicited.items) == 3, ears.elicited.items)
        expect(self.other.ears.elicited.items == [], self.other.ears.elicited.items)

    async def gives_roots(self) -> None:
        """The server asks for the roots by itself when its process is new, and again when they changed."""

        async def reach_the_server() -> None:
            due = {"roots": self.first.ears.roots}
            await self.own.until(f"the answer {due}", lambda all: any(m.get("result") == due for m in all))

        await self.first.said("own__echo", {"message": "there has to be a process"})
        await reach_the_server()
        if self.first.can_tell_that_roots_changed:
            n_before = self.first.ears.n_roots_asked
            self.first.ears.roots = [
                {"uri": f"file:///elsewhere/{self.tag}", "name": "moved"},
                {"uri": f"file:///more/{self.tag}", "name": "ünïcödé"},
            ]
            await self.first.tell_that_roots_changed()
            await reach_the_server()
            expect(self.first.ears.n_roots_asked == n_before + 1, self.first.ears.n_roots_asked)
        expect(self.first.ears.n_roots_asked > 0, "nobody asked the client")
        expect(self.other.ears.n_roots_asked == 0, "the other client was asked")

    async def hears_of_subscribed_resources(self) -> None:
        """Both subscribe to something else at the shared process; each hears of its own, and no more once it left."""
        a, b, c = (f"{DOCUMENT}{name}.md" for name in ("architecture", "features", "structure"))
        first, other = self.first.ears.updates, self.other.ears.updates

        async def one_round() -> None:
            for word in ("Started", "Stopped"):
                said = await self.first.said("every__toggle-subscriber-updates")
                expect(said.startswith(word), said)

        await self.first.subscribe(a)
        await self.other.subscribe(b)
        await one_round()
        await first.until(lambda uris: a in uris)
        await other.until(lambda uris: b in uris)
        await self.first.unsubscribe(a)
        await self.first.subscribe(c)
        expect(set(first.items) == {a}, first.items)
        n_heard = len(first.items)
        await one_round()
        await first.until(lambda uris: c in uris)
        await other.until(lambda uris: len(uris) >= 2)
        expect(set(first.items[n_heard:]) == {c}, first.items)
        expect(set(other.items) == {b}, other.items)
        await self.first.unsubscribe(c)
        await self.other.unsubscribe(b)

    async def carries_a_large_payload(self) -> None:
        message = payload(PAYLOAD_BYTES)
        said = await self.first.said("every__echo", {"message": message})
        expect(said == f"Echo: {message}", f"{len(said)} characters, {said[:100]}")

    async def carries_what_fits(self, event_bytes_max: int) -> None:
        """For a client that bounds what comes down: all of it goes up, and what fits comes down."""
        arguments = {"a": 19, "b": 23, "more": payload(PAYLOAD_BYTES)}
        said = await self.first.said("every__get-sum", arguments)
        expect("42" in said, said)
        arrived = [m for all in self.every.records() for m in all if m.get("params", {}).get("arguments") == arguments]
        expect(len(arrived) == 1, len(arrived))
        message = "." * (event_bytes_max - EVENT_REST_BYTES)
        said = await self.first.said("every__echo", {"message": message})
        expect(said == f"Echo: {message}", f"{len(said)} characters, {said[:100]}")

    async def makes_parallel_calls(self) -> None:
        async def one(i: int) -> None:
            duration = 1 + i / 1000
            said = await self.first.said(LONG, {"duration": duration, "steps": i % 5 + 1})
            shown = json.dumps(duration).removesuffix(".0")
            due = f"Long running operation completed. Duration: {shown} seconds, Steps: {i % 5 + 1}."
            expect(said == due, said)

        loop = asyncio.get_running_loop()
        before = loop.time()
        await asyncio.gather(*(one(i) for i in range(N_PARALLEL)))
        # One after the other they take more than 100 s.
        expect(loop.time() - before < 20, f"{loop.time() - before} s")

    async def heard_no_complaints(self) -> None:
        for peer in (self.first, self.other):
            expect(peer.ears.faults.items == [], peer.ears.faults.items)


async def features_of(connected, kind: str, gateway: dict, report_of) -> int:
    async with connected(gateway, kind) as first, connected(gateway, kind) as other:
        report = report_of(first.client)
        features = Features(first, other, report.case, gateway)
        first.ears.roots = [{"uri": f"file:///first/{features.tag}", "name": "the first"}]
        for name, check in (
            ("list", features.lists),
            ("call", features.calls),
            ("read", features.reads),
            ("prompt", features.prompts),
            ("complete", features.completes),
            ("progress", features.sees_progress),
            ("cancel", features.cancels),
            ("log-level", features.hears_its_level),
            ("sampling", features.samples),
            ("elicitation", features.elicits),
            ("roots", features.gives_roots),
            ("subscription", features.hears_of_subscribed_resources),
            ("parallel-100", features.makes_parallel_calls),
            ("payload-5MiB", features.carries_a_large_payload),
        ):
            if name in first.lacks:
                lacks_by_name(report, first, name)
            elif name == "payload-5MiB" and kind == "sse" and first.event_bytes_max:
                await lacks_large_events(report, features, lambda: connected(gateway, kind))
            else:
                partly = first.partly.get(name)
                await report.feature(name, check(), f"partly: {partly}" if partly else "")
        await report.check("no complaint of the transport", features.heard_no_complaints())
    return report.status()


def lacks_by_name(report: FeatureReport, peer: Peer, name: str) -> None:
    """Not offered, and indeed nothing in the library's interface is called so."""
    word, why = peer.lacks[name]
    present = sorted(known for known in peer.public_names() if word in known.lower())
    if present:
        report.failed_feature(name, AssertionError(f"said to be lacking, but there is {present}"))
    else:
        report.not_offered(name, why)


async def lacks_large_events(report: FeatureReport, features: Features, connect) -> None:
    """Not offered, and indeed the client itself refuses it; what it can take is tried instead."""
    n_max = features.first.event_bytes_max
    await report.check("5 MiB up, and down what fits", features.carries_what_fits(n_max))
    complaints: list[str] = []
    try:
        async with connect() as third:
            try:
                call = third.said("every__echo", {"message": payload(PAYLOAD_BYTES)})
                complaints.append(f"none: {len(await asyncio.wait_for(call, CHECK_SECONDS))} characters came")
            except Exception as error:
                complaints += reasons(error)
    except Exception as error:  # the connection is broken by then, and where that shows depends on the library
        complaints += reasons(error)
    if any(f"exceeded the {n_max} byte limit" in one for one in complaints):
        report.not_offered("payload-5MiB", f"over SSE it refuses an event above {n_max} bytes, with no option for more")
    else:
        report.failed_feature("payload-5MiB", AssertionError(f"said to be refused by the client; came {complaints}"))


def reasons(error: BaseException) -> list[str]:
    """An error and those that it groups."""
    return [repr(error), *(one for inner in getattr(error, "exceptions", ()) for one in reasons(inner))]


async def main(case: str, gateway: dict, library: str, kinds: list[str]) -> int:
    connected = import_module(f"peer_{library}").connected
    status = 0
    for kind in kinds:
        made = features_of(connected, kind, gateway, lambda client: FeatureReport(f"{case} {kind}", client, kind))
        status = max(status, await made)
    return status


if __name__ == "__main__":
    case, gateway_file, library, *kinds = sys.argv[1:]
    sys.exit(asyncio.run(main(case, json.loads(Path(gateway_file).read_text()), library, kinds)))
