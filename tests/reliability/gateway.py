"""A gateway under measurement: started with a set of children, known from outside only.

Ours reads `servers.toml`; any other is given by its command line and takes the same children as the `mcpServers` JSON
that desktop clients use. Names of tools are found in its `tools/list`, since every gateway prefixes in its own way.
"""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import mcp
import procs

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Seconds until every awaited tool must be on offer, and until a gateway that was told to stop must be gone.
START_PATIENCE = 90.0
STOP_PATIENCE = 60.0
# The variable by which whatever a child has started is told from other processes.
MARK = "RELIABILITY_MARK"


class Unable(Exception):
    """This gateway cannot do what the figure needs; the sentence goes below the table."""


def release(program):
    folder = os.environ.get("CARGO_TARGET_DIR", os.path.join(TOP, "target"))
    return os.path.join(folder, "release", program)


def fake_child(*flags, tools="echo", journal=None, effects=None):
    """The definition of one scripted child."""
    args = ["--tools", tools, *flags]
    if journal:
        args += ["--journal", journal]
    if effects:
        args += ["--effects", effects]
    return {"command": release("fake-child"), "args": args}


class Gateway:
    """How one is started. `{config}`, `{port}`, `{folder}`, `{top}` and, in the URL, `{server}` are filled in."""

    def __init__(self, name, command, url, config_format="mcpServers", version=None, without=None):
        self.name = name
        self.command = command
        self.url = url
        self.config_format = config_format
        self.version_command = version
        # Figures that are not measured of it, with the reason.
        self.without = without or {}

    @property
    def is_ours(self):
        return self.config_format == "servers.toml"

    def version(self):
        if not self.version_command:
            return "unknown"
        words = [word.format(top=TOP) for word in shlex.split(self.version_command)]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
        lines = (ran.stdout + ran.stderr).strip().splitlines()
        said = lines[-1].strip() if lines else "unknown"
        if self.is_ours:
            words = ["git", "-C", TOP, "rev-parse", "--short=8", "HEAD"]
            commit = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False).stdout.strip()
            said += f" ({commit})" if commit else ""
        return said

    def start(self, children, settings=None):
        return Running(self, children, settings or {})


def ours():
    return Gateway(
        "mcp-wrapper",
        release("mcp-wrapper"),
        "http://127.0.0.1:{port}/mcp",
        config_format="servers.toml",
        version=f"{release('mcp-wrapper')} --version",
    )


def toml_text(value):
    # JSON strings, and lists of them, are TOML as they stand.
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {json.dumps(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)


def servers_toml(children, settings):
    lines = ["[defaults]"] if settings else []
    lines += [f"{name} = {toml_text(value)}" for name, value in settings.items()]
    for name, child in children.items():
        lines.append(f"[servers.{name}]")
        lines += [f"{key} = {toml_text(value)}" for key, value in child.items()]
    return "\n".join(lines) + "\n"


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Running:
    """One process of a gateway, and all below it. Use it with `with`: nothing of it is left behind."""

    def __init__(self, gateway, children, settings):
        self.gateway = gateway
        self.folder = tempfile.mkdtemp(prefix="reliability-")
        self.port = free_port()
        self.mark = os.path.basename(self.folder)
        marked = {name: {**child, "env": {MARK: self.mark, **child.get("env", {})}} for name, child in children.items()}
        self.servers = list(children)
        self._write(marked, settings)
        self.before = {one.key for one in procs.below(os.getpid())}
        self.tools = {}
        self.run()

    def _write(self, children, settings):
        is_toml = self.gateway.config_format == "servers.toml"
        self.config = os.path.join(self.folder, "servers.toml" if is_toml else "servers.json")
        with open(self.config, "w", encoding="utf-8") as config:
            config.write(servers_toml(children, settings) if is_toml else json.dumps({"mcpServers": children}, indent=1))

    def run(self):
        places = {"config": self.config, "port": self.port, "folder": self.folder, "top": TOP}
        words = [word.format(**places) for word in shlex.split(self.gateway.command)]
        # The settings of the caller's own gateway are none of this one's.
        env = {name: value for name, value in os.environ.items() if not name.startswith("MCP_")}
        env.update(HOME=self.folder, LOG_LEVEL="info")
        if self.gateway.is_ours:
            env.update(MCP_PORT=str(self.port))
        self.output = open(os.path.join(self.folder, "output.txt"), "ab")
        self.process = subprocess.Popen(
            words, cwd=self.folder, env=env, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output
        )
        self.pid = self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_why):
        try:
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
                try:
                    self.process.wait(STOP_PATIENCE)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
        finally:
            # What a gateway left behind is counted before this, and cleared away here.
            for _round in range(5):
                left = self.everything()
                procs.end_hard(left)
                procs.until_dead(left, 5, keep={self.pid})
            self.output.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    # --- who ---

    def everything(self):
        """The gateway and all that it has started, wherever that is now."""
        return [one for one in procs.below(os.getpid()) if one.key not in self.before and one.state not in "ZX"]

    def own(self):
        """The gateway's own processes: no child, and nothing below one."""
        found, due = [], [self.pid]
        parents = {}
        for one in procs.everybody():
            parents.setdefault(one.parent, []).append(one)
        first = procs.seen(self.pid)
        found += [first] if first else []
        while due:
            for one in parents.get(due.pop(), []):
                if one.name != "fake-child" and one.state not in "ZX":
                    found.append(one)
                    due.append(one.pid)
        return found

    def child_pid(self, server):
        """The process of a child, by the name that it was given in its arguments."""
        for one in procs.below(os.getpid()):
            if one.name == "fake-child" and one.state not in "ZX":
                if f"--name {server} " in procs.command_line(one.pid) + " ":
                    return one.pid
        return None

    def last_words(self):
        """The last line of its output that says anything, without the frame that some put around it."""
        with open(os.path.join(self.folder, "output.txt"), encoding="utf-8", errors="replace") as output:
            lines = [line.strip(" |+-\n") for line in output]
        return next((line[:200] for line in reversed(lines) if re.search("[A-Za-z]{3}", line)), "nothing")

    # --- what it offers ---

    def url(self, server):
        return self.gateway.url.format(port=self.port, server=server)

    def client(self, server):
        return mcp.Client(self.url(server))

    def tool(self, server, name):
        """The name under which a tool of a child is on offer."""
        return self.tools[(server, name)]

    async def ready(self, awaited, patience=START_PATIENCE):
        """Waits until all of [(server, tool)] are on offer. Raises `Unable`."""
        began = time.monotonic()
        while True:
            missing = await self._missing(awaited)
            if not missing:
                return time.monotonic() - began
            if self.process.poll() is not None:
                raise Unable(f"it ended with status {self.process.returncode}: {self.last_words()}")
            if time.monotonic() - began > patience:
                raise Unable(f"after {patience:.0f} s {len(missing)} of {len(awaited)} tools were not on offer")
            await asyncio.sleep(0.1)

    async def _missing(self, awaited):
        missing = [pair for pair in awaited if pair not in self.tools]
        is_apart = "{server}" in self.gateway.url
        for server in {server for server, _tool in missing} if is_apart else ["" for _one in missing[:1]]:
            client = self.client(server)
            names = await mcp.tools_of(client) if (await client.open()).is_good else []
            await client.end()
            for pair in missing:
                if not is_apart or pair[0] == server:
                    found = [name for name in names if is_named(name, *pair, is_apart)]
                    if found:
                        self.tools[pair] = found[0]
        return [pair for pair in awaited if pair not in self.tools]


def is_named(exposed, server, tool, is_apart):
    """`server__tool`, `server_1mcp_tool`, `server.tool`, …; the tool's own name where each server has its own URL."""
    if is_apart and exposed == tool:
        return True
    return re.fullmatch(rf"{re.escape(server)}[^A-Za-z0-9](.*[^A-Za-z0-9])?{re.escape(tool)}", exposed) is not None
