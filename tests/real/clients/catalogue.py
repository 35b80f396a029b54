"""Servers as they come from npm and PyPI: found to speak what they do, listed, called, and stopped, each by itself.

    catalogue.py CASE GATEWAY.json

What is called needs nothing but the server: where its tools need a network or a key, it is the refusal that must arrive.
"""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import mcp
from mcp.client.streamable_http import streamable_http_client

from peer import WAIT_SECONDS, wire
from report import Report, expect

POLL_SECONDS = 0.05
CATALOGUE = Path(__file__).parent.parent / "servers" / "catalogue.json"


def mcpctl(gateway: dict, *args: str) -> str:
    return subprocess.run([*gateway["mcpctl"], *args], check=True, capture_output=True, text=True).stdout


def status(gateway: dict, name: str) -> dict:
    [server] = [one for one in json.loads(mcpctl(gateway, "status", "--json"))["servers"] if one["name"] == name]
    return server


def processes(mark: str) -> list[str]:
    """All that bear this mark in their environment and still do anything, whatever has started them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_it = f"\0{mark}\0".encode() in b"\0" + (folder / "environ").read_bytes()
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
        except (OSError, IndexError):
            continue  # it has ended meanwhile
        if is_it and state != "Z":
            found.append(folder.name)
    return found


class Entry:
    def __init__(self, gateway: dict, client: mcp.Client, name: str, known: dict) -> None:
        self.gateway, self.client, self.name, self.known = gateway, client, name, known
        self.mark = f"{gateway['mark']}-{name}"

    async def speaks_its_era(self) -> None:
        now = status(self.gateway, self.name)
        seen = {key: now[key] for key in ("state", "era", "n_failures", "probe")}
        expect(now["era"] == now["probe"]["era"] == self.known["era"], seen)
        expect(now["state"] == "ready" and now["n_failures"] == 0, seen)

    async def is_called(self) -> None:
        tools = [tool["name"] for tool in wire(await self.client.list_tools())["tools"]]
        tool = f"{self.name}__{self.known['call']}"
        expect(tool in tools, tools)
        try:
            said = json.dumps(wire(await self.client.call_tool(tool, self.known["arguments"])), ensure_ascii=False)
        except mcp.MCPError as refused:
            said = refused.error.message
        expect(self.known["said"] in said, said)

    async def is_stopped(self) -> None:
        """It goes with all that it has started, and no other does."""
        expect(len(processes(self.mark)) > 0, "no process of it, so that its absence would prove nothing")
        others = [one["pid"] for one in self.servers() if one["name"] != self.name and one["state"] == "ready"]
        mcpctl(self.gateway, "stop", self.name)
        async with asyncio.timeout(WAIT_SECONDS):
            while processes(self.mark):
                await asyncio.sleep(POLL_SECONDS)
        expect(status(self.gateway, self.name)["state"] == "stopped", status(self.gateway, self.name))
        still = [one["pid"] for one in self.servers() if one["state"] == "ready"]
        expect(still == others, (still, others))

    def servers(self) -> list[dict]:
        return json.loads(mcpctl(self.gateway, "status", "--json"))["servers"]


async def main(case: str, gateway: dict) -> int:
    report = Report(case)
    known = json.loads(CATALOGUE.read_text())
    async with mcp.Client(streamable_http_client(gateway["url"]), read_timeout_seconds=30) as client:
        entries = [Entry(gateway, client, name, known[name]) for name in known]
        for entry in entries:
            await report.check(f"{entry.name} is spoken to in its era, {entry.known['era']}", entry.speaks_its_era())
            await report.check(f"{entry.name} is listed and called", entry.is_called())
        for entry in entries:
            await report.check(f"{entry.name} is stopped, and nothing of it is left", entry.is_stopped())
    return report.status()


if __name__ == "__main__":
    case, gateway_file = sys.argv[1:]
    sys.exit(asyncio.run(main(case, json.loads(Path(gateway_file).read_text()))))
