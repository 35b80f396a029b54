#!/usr/bin/env python3
"""Writes the tables of clients in docs/compatibility.md from what a run of all cases has seen.

    table.py FEATURES.tsv ERAS.tsv    0: they were true; 1: they were not, and now they are; 2: the run is no base for them

A line of the file: feature, client, transport, pass|fail|not-offered, detail, with tabs between them. What is not
offered has its reason in the detail; so has a pass whose detail begins with `partly: `.
A line of the other: server, client, mode, transport, pass|fail, and the features that were seen, with commas.
"""

import json
import re
import sys
from pathlib import Path

REAL = Path(__file__).resolve().parent
PAGE = REAL.parent.parent / "docs" / "compatibility.md"
BEGIN, END = "<!-- clients: begin -->", "<!-- clients: end -->"
EMPTY_PAGE = f"# Compatibility\n\n{BEGIN}\n{END}\n"
INTRODUCTION = (
    "Seen with real clients in front of the gateway and the reference server behind it, by `tests/real/run.sh`, "
    "which also writes this table."
)

FEATURES = {
    "list": "Lists of tools, resources, templates, prompts",
    "call": "Tool calls",
    "read": "Reading resources",
    "prompt": "Prompts",
    "complete": "Completion",
    "progress": "Progress",
    "cancel": "Cancellation",
    "log-level": "Log messages and their level",
    "sampling": "Sampling",
    "elicitation": "Elicitation",
    "roots": "Roots",
    "subscription": "Resource subscriptions",
    "payload-5MiB": "5 MiB both ways",
    "parallel-100": "100 calls at once",
}
# Name in the file, name for people, and where its version is pinned: the file and the package.
CLIENTS = (
    ("typescript", "TypeScript SDK", "package.json", "@modelcontextprotocol/sdk"),
    ("typescript-2", "TypeScript SDK", "package.json", "@modelcontextprotocol/client"),
    ("mcp-2", "Python SDK", "requirements.txt", "mcp"),
    ("mcp-1", "Python SDK", "requirements-langchain.txt", "mcp"),
    ("rmcp", "Rust SDK", "rmcp_client/Cargo.toml", "rmcp"),
    ("fastmcp", "FastMCP", "requirements-fastmcp.txt", "fastmcp"),
    ("langchain-mcp-adapters", "LangChain adapters", "requirements-langchain.txt", "langchain-mcp-adapters"),
    ("inspector", "MCP Inspector, command line", "inspector/package.json", "@modelcontextprotocol/inspector"),
    ("mcp-remote", "mcp-remote", "package.json", "mcp-remote"),
)
TRANSPORTS = {"http": "HTTP", "sse": "SSE", "stdio": "stdio"}
PARTLY = "partly: "


class NoBase(Exception):
    """Why no table can be made of this run."""


def rows_of(text: str) -> dict[tuple[str, str, str], tuple[str, str]]:
    """(feature, client, transport) -> (mark, detail)"""
    rows: dict = {}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) != 5:
            raise NoBase(f"a line with {len(fields)} fields instead of 5: {line[:200]}")
        feature, client, transport, mark, detail = fields
        place = (feature, client, transport)
        if feature not in FEATURES or transport not in TRANSPORTS or client not in {known[0] for known in CLIENTS}:
            raise NoBase(f"unknown feature, client or transport: {', '.join(place)}")
        if place in rows:
            raise NoBase(f"told twice: {', '.join(place)}")
        if mark not in ("pass", "not-offered"):
            raise NoBase(f"{mark}: {', '.join(place)}; the table stays as it is")
        if mark == "not-offered" and not detail:
            raise NoBase(f"not offered without a reason: {', '.join(place)}")
        rows[place] = (mark, detail)
    if not rows:
        raise NoBase("no feature was told")
    return rows


def columns_of(rows: dict) -> list[tuple[str, str]]:
    """Client and transport of every column, each with all features."""
    present = {(client, transport) for _, client, transport in rows}
    possible = [(known[0], transport) for known in CLIENTS for transport in TRANSPORTS]
    columns = [column for column in possible if column in present]
    for client, transport in columns:
        left_out = [feature for feature in FEATURES if (feature, client, transport) not in rows]
        if left_out:
            raise NoBase(f"left out by {client} over {transport}: {', '.join(left_out)}")
    return columns


def version(client: str) -> str:
    _, _, file, package = next(known for known in CLIENTS if known[0] == client)
    return pinned(file, package)


def pinned(file: str, package: str) -> str:
    if not (REAL / file).is_file():
        raise NoBase(f"there is no {file}, which pins {package}")
    text = (REAL / file).read_text(encoding="utf-8")
    if file.endswith(".json"):
        found = json.loads(text)["dependencies"].get(package)
    elif file.endswith(".toml"):
        line = re.search(rf'^{re.escape(package)} = .*?"=?([0-9][^"]*)"', text, re.MULTILINE)
        found = line and line[1]
    else:
        line = re.search(rf"^{re.escape(package)}==(\S+)$", text, re.MULTILINE)
        found = line and line[1]
    if not found:
        raise NoBase(f"{file} pins no {package}")
    return found


def titled(client: str) -> str:
    return f"{next(known[1] for known in CLIENTS if known[0] == client)} {version(client)}"


def table_of(rows: dict) -> str:
    columns = columns_of(rows)
    notes: list[str] = []

    def cell(feature: str, client: str, transport: str) -> str:
        mark, detail = rows[feature, client, transport]
        if mark == "not-offered":
            return f"–{reference(f'{titled(client)} does not offer it: {detail}.')}"
        if detail.startswith(PARTLY):
            return f"✓{reference(f'{titled(client)}: {detail.removeprefix(PARTLY)}.')}"
        return "✓"

    def reference(note: str) -> str:
        if note not in notes:
            notes.append(note)
        return f"<sup>{notes.index(note) + 1}</sup>"

    heads = [f"{titled(client)}, {TRANSPORTS[transport]}" for client, transport in columns]
    lines = [
        f"| Feature | {' | '.join(heads)} |",
        f"| --- |{' :-: |' * len(columns)}",
        *(
            f"| {title} | {' | '.join(cell(feature, *column) for column in columns)} |"
            for feature, title in FEATURES.items()
        ),
        "",
        *(f"{number}. {note}" for number, note in enumerate(notes, 1)),
    ]
    return "\n".join(lines).rstrip("\n")


# Of eras.sh. Each server: its name, what people know it as, and where its version is pinned.
ASKING = REAL / "servers" / "asking.json"
SERVERS = (
    ("py", "Python SDK", "requirements.txt", "mcp"),
    ("py-handshake", "Python SDK", "requirements.txt", "mcp"),
    ("py-own", "Python SDK", "requirements.txt", "mcp"),
    ("ts", "TypeScript SDK", "package.json", "@modelcontextprotocol/server"),
    ("ts-handshake", "TypeScript SDK", "package.json", "@modelcontextprotocol/server"),
    ("fastmcp", "FastMCP", "requirements-fastmcp.txt", "fastmcp"),
    ("fastmcp-handshake", "FastMCP", "requirements-fastmcp.txt", "fastmcp"),
    ("rmcp-3", "Rust SDK", "rmcp_servers/Cargo.toml", "rmcp-3-9"),
    ("rmcp-1", "Rust SDK", "rmcp_servers/Cargo.toml", "rmcp-1-8"),
    ("rmcp-0", "Rust SDK", "rmcp_servers/Cargo.toml", "rmcp-0-8"),
)
SPOKEN = {"modern": "2026-07-28", "legacy": "handshake"}
BEGUN = {"legacy": "handshake", "auto": "asks first", "2026-07-28": "2026-07-28"}
PEERS = (
    ("typescript", ("legacy",)),
    ("typescript-2", tuple(BEGUN)),
    ("mcp-2", tuple(BEGUN)),
    ("rmcp", tuple(BEGUN)),
    ("fastmcp", tuple(BEGUN)),
)
# What a client has no way to do, and why.
LEFT_OUT = {
    "fastmcp": ({"list changed", "updated"}, "its client neither listens nor subscribes"),
}
ERAS_INTRODUCTION = (
    "Clients of the SDKs in each way that they can begin, over HTTP and stdio, and servers of the SDKs, each spoken to as it "
    "speaks: written by the same run. A server of both eras is spoken to without a handshake."
)


def eras_of(text: str) -> dict[tuple[str, str, str, str], set[str]]:
    """(server, client, mode, transport) -> features"""
    rows: dict = {}
    for line in text.splitlines():
        server, client, mode, transport, mark, features = line.split("\t")
        if mark != "pass":
            raise NoBase(f"{mark}: {server}, {client}, {mode}, {transport}; the tables stay as they are")
        rows[server, client, mode, transport] = set(features.split(","))
    return rows


def eras_table_of(rows: dict) -> str:
    known = json.loads(ASKING.read_text(encoding="utf-8"))
    notes: list[str] = []

    def cell(server: str, client: str, mode: str) -> str:
        lacks, why = LEFT_OUT.get(client, (set(), ""))
        left_out = lacks & set(known[server]["has"])
        for transport in ("http", "stdio"):
            seen = rows.get((server, client, mode, transport), set())
            if seen != set(known[server]["has"]) - left_out:
                raise NoBase(f"{server}, {client}, {mode}, {transport}: only {sorted(seen)}")
        if not left_out:
            return "✓"
        note = f"{titled(client)} does not offer {' and '.join(f'`{one}`' for one in sorted(lacks))}: {why}."
        if note not in notes:
            notes.append(note)
        return f"✓<sup>{notes.index(note) + 1}</sup>"

    columns = [(client, mode) for client, modes in PEERS for mode in modes]
    heads = [f"{titled(client)}, {BEGUN[mode]}" for client, mode in columns]
    lines = [f"| Server | Spoken to | Features | {' | '.join(heads)} |", f"| --- | --- | --- |{' :-: |' * len(columns)}"]
    for server, title, file, package in SERVERS:
        own = ", a process for each client" if server == "py-own" else ""
        about = f"{title} {pinned(file, package)} | {SPOKEN[known[server]['era']]}{own} | {', '.join(known[server]['has'])}"
        lines.append(f"| {about} | {' | '.join(cell(server, *column) for column in columns)} |")
    return "\n".join([*lines, "", *(f"{number}. {note}" for number, note in enumerate(notes, 1))]).rstrip("\n")


def page_with(page: str, table: str, eras: str) -> str:
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise NoBase(f"{PAGE.name} lacks `{BEGIN}` or `{END}`")
    first = f"{INTRODUCTION}\n✓ works, – the client does not offer it.\n\n{table}"
    return f"{head}{BEGIN}\n{first}\n\n### Both eras\n\n{ERAS_INTRODUCTION}\n\n{eras}\n{END}{tail}"


def main(features_file: str, eras_file: str) -> int:
    try:
        eras = eras_table_of(eras_of(Path(eras_file).read_text(encoding="utf-8")))
        table = table_of(rows_of(Path(features_file).read_text(encoding="utf-8")))
        before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
        after = page_with(before or EMPTY_PAGE, table, eras)
    except NoBase as why:
        print(why)
        return 2
    if after == before:
        print("docs/compatibility.md says what was seen")
        return 0
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(after, encoding="utf-8")
    print("docs/compatibility.md did not say what was seen; it was written anew: look at the difference and commit it")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
