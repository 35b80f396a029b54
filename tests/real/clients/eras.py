"""Clients of the Python libraries in every way that they can begin, and servers of the SDKs in every era.

    eras.py CASE GATEWAY.json mcp|fastmcp

Each server has the same tools, as far as its SDK lets it; `asking.json` says what it lacks, and why. All clients of one
library are connected throughout, and ask one after the other: a question of a server with a handshake could otherwise
be of any of them.
"""

import asyncio
import json
import os
import random
import sys
import traceback
from contextlib import AsyncExitStack
from importlib import import_module
from pathlib import Path

from peer import Inbox, Peer
from report import CHECK_SECONDS, Report, expect

MODES = ("legacy", "auto", "2026-07-28")
KINDS = ("http", "stdio")
N_STEPS = 5


class Eras:
    """One client and one server. What has the tag in it belongs to these two."""

    def __init__(self, peer: Peer, server: str) -> None:
        self.peer = peer
        self.server = server
        self.tag = f"{server}-{random.getrandbits(32):08x}"

    def tool(self, name: str) -> str:
        return f"{self.server}__{name}"

    def uri(self, path: str) -> str:
        return f"asking-{self.server}://{path}"

    async def lists(self) -> None:
        due = self.peer.revision_due
        expect(self.peer.revision() == due, f"{self.peer.revision()} instead of {due}")
        names = [tool["name"] for tool in await self.peer.tools()]
        expect(self.tool("echo") in names and len(set(names)) == len(names), names)

    async def calls(self) -> None:
        said = await self.peer.said(self.tool("echo"), {"text": f"grüße 🦀 {self.tag}"})
        expect(f"grüße 🦀 {self.tag}" in said, said)

    async def reads(self) -> None:
        uri = self.uri("fixed")
        expect(uri in [resource["uri"] for resource in await self.peer.resources()], uri)
        [contents] = await self.peer.read(uri)
        expect(contents["text"] == "It stays." and contents["uri"] == uri, contents)

    async def prompts(self) -> None:
        text = await self.peer.prompt(self.tool("plain"), {"topic": self.tag})
        expect(text == f"Tell me of {self.tag}.", text)

    async def sees_progress(self) -> None:
        seen = Inbox()
        said = await self.peer.said(self.tool("steps"), {"n": N_STEPS}, lambda *step: seen.put(step))
        expect(said == f"{N_STEPS} steps", said)
        due = [(i + 1, N_STEPS) for i in range(N_STEPS)]
        await seen.until(lambda steps: len(steps) >= len(due))
        expect(seen.items == due, seen.items)

    async def is_asked(self) -> None:
        asked = self.peer.ears.elicited.items
        n_before = len(asked)
        self.peer.ears.elicit = {"action": "accept", "content": {"name": f"Ada {self.tag}"}}
        said = await self.peer.said(self.tool("greet"))
        expect(said == f"Hello, Ada {self.tag}!", said)
        [question] = asked[n_before:]
        expect(question["message"].endswith("What is your name?"), question)
        expect("name" in question["requestedSchema"]["properties"], question)

    async def is_asked_twice(self) -> None:
        """The second question holds the answer to the first one."""
        asked = self.peer.ears.elicited.items
        n_before = len(asked)
        self.peer.ears.elicit = {"action": "accept", "content": {"name": f"Ada {self.tag}", "color": "green"}}
        said = await self.peer.said(self.tool("paint"))
        expect(said == f"Ada {self.tag} likes green.", said)
        messages = [question["message"].partition("] ")[2] or question["message"] for question in asked[n_before:]]
        expect(messages == ["What is your name?", f"Ada {self.tag}, what is your favourite color?"], messages)

    async def samples(self) -> None:
        asked = self.peer.ears.sampled.items
        n_before = len(asked)
        content = {"type": "text", "text": f"a thought, {self.tag}"}
        self.peer.ears.sample = {"model": "a model", "stopReason": "endTurn", "role": "assistant", "content": content}
        said = await self.peer.said(self.tool("ponder"))
        expect(said == f"a model thinks: a thought, {self.tag}", said)
        [question] = asked[n_before:]
        expect(question["maxTokens"] == 77 and question["messages"][0]["content"]["text"] == "A thought?", question)

    async def gives_roots(self) -> None:
        n_before = self.peer.ears.n_roots_asked
        said = await self.peer.said(self.tool("where"))
        expect(said == self.peer.ears.roots[0]["uri"], said)
        expect(self.peer.ears.n_roots_asked > n_before, "nobody asked the client")

    async def hears_logs(self) -> None:
        await self.peer.set_level("warning")
        await self.peer.said(self.tool("say"), {"text": self.tag})
        logs = self.peer.ears.logs

        def ours() -> list:
            return [log for log in logs.items if self.tag in str(log["data"])]

        due = ["debug", "warning"] if self.peer.hears_all_logs else ["warning"]
        await logs.until(lambda _: len(ours()) >= len(due))
        expect([log["level"] for log in ours()] == due, ours())
        expect(all(log["logger"].startswith(self.server) for log in ours()), ours())

    async def hears_of_a_new_tool(self) -> None:
        name = f"grown_{self.tag.replace('-', '_')}"
        async with self.peer.listening() as changes:
            await self.peer.said(self.tool("grow"), {"name": name})
            n_heard = 0
            names: list[str] = []
            # What another client has made grow may be told of here first.
            while self.tool(name) not in names:
                await changes.until(lambda all: all[n_heard:].count("tools") > 0)
                n_heard = len(changes.items)
                names = [tool["name"] for tool in await self.peer.tools()]

    async def hears_of_a_resource(self) -> None:
        uri = self.uri("fixed")
        async with self.peer.listening(uri) as changes:
            await self.peer.said(self.tool("touch"), {"uri": uri})
            await changes.until(lambda all: uri in all)
        expect(set(changes.items) <= {uri, "tools"}, changes.items)

    async def cancels(self) -> None:
        seen = Inbox()
        call = self.peer.start(self.tool("wait"), {"tag": self.tag}, lambda *step: seen.put(step))
        await seen.until(lambda steps: len(steps) > 0)
        await self.peer.take_back(call)
        call.cancel()
        [ended] = await asyncio.gather(call, return_exceptions=True)
        expect(isinstance(ended, BaseException), ended)

        async def is_told() -> None:
            while "true" not in (await self.peer.said(self.tool("was_taken_back"), {"tag": self.tag})).lower():
                await asyncio.sleep(0.05)

        await asyncio.wait_for(is_told(), 15)


FEATURES = {
    "list": Eras.lists,
    "call": Eras.calls,
    "read": Eras.reads,
    "prompt": Eras.prompts,
    "progress": Eras.sees_progress,
    "elicitation": Eras.is_asked,
    "two rounds": Eras.is_asked_twice,
    "sampling": Eras.samples,
    "roots": Eras.gives_roots,
    "logs": Eras.hears_logs,
    "list changed": Eras.hears_of_a_new_tool,
    "updated": Eras.hears_of_a_resource,
    "cancel": Eras.cancels,
}


class Cell:
    """What came of one client with one server: one line, and one row for the table."""

    def __init__(self, library: str, client: tuple[str, str], server: str) -> None:
        self.library, self.client, self.server = library, client, server
        self.passed: list[str] = []
        self.failures: list[str] = []

    async def try_out(self, feature: str, made) -> None:
        try:
            await asyncio.wait_for(made, CHECK_SECONDS)
        except Exception as error:
            traceback.print_exception(error, file=sys.stderr)
            self.failures.append(f"{feature}: {error or type(error).__name__}")
        else:
            self.passed.append(feature)

    def told(self, report: Report) -> None:
        what = f"{' '.join(self.client)}, {self.server}: {', '.join(self.passed)}"
        if self.failures:
            report.failed(what, AssertionError("; ".join(self.failures)))
        else:
            report.passed(what)
        if "ERAS_OUT" in os.environ:
            verdict = "fail" if self.failures else "pass"
            with open(os.environ["ERAS_OUT"], "a", encoding="utf-8") as out:
                out.write("\t".join((self.server, self.library, *self.client, verdict, ",".join(self.passed))) + "\n")


async def main(case: str, gateway: dict, library: str) -> int:
    report = Report(case)
    servers = json.loads((Path(__file__).parent.parent / "servers" / "asking.json").read_text())
    module = import_module(f"peer_{library}")
    async with AsyncExitStack() as stack:
        cells = []
        for mode in MODES:
            for kind in KINDS:
                peer = await stack.enter_async_context(module.connected(gateway, kind, mode))
                peer.revision_due = "2025-11-25" if mode == "legacy" else MODES[-1]
                peer.ears.roots = [{"uri": f"file:///{mode}/{kind}", "name": "the folder"}]
                cells += [(peer, Cell(peer.client, (mode, kind), server)) for server in servers]
        # The outer loop: what was taken back may still ask for a while, and so it is the last feature of all.
        for feature, check in FEATURES.items():
            for peer, cell in cells:
                if feature in servers[cell.server]["has"] and feature not in module.LACKS:
                    await cell.try_out(feature, check(Eras(peer, cell.server)))
        for _, cell in cells:
            cell.told(report)
    return report.status()


if __name__ == "__main__":
    case, gateway_file, library = sys.argv[1:]
    sys.exit(asyncio.run(main(case, json.loads(Path(gateway_file).read_text()), library)))
