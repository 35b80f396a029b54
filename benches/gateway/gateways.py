"""Gateways under measurement: how one is started with a set of children, and how it is ended."""

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
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(TOP, "target"))
# Seconds until a gateway that was told to stop must be gone.
STOP_PATIENCE = 40.0


class Failed(Exception):
    """Why there is no figure."""


def tool(name):
    return os.path.join(TARGET, "bench", "release", name)


def ours(name):
    return os.path.join(TARGET, "release", name)


def child(*arguments):
    return {"command": tool("echo-child"), "args": list(arguments)}


class Gateway:
    """`{config}`, `{port}`, `{folder}` and `{top}` are filled in. `config`: how it is told of its children."""

    def __init__(self, name, command, url="http://127.0.0.1:{port}/mcp", config="mcpServers", version=None):
        self.name = name
        self.command = command
        self.url = url
        self.config = config
        self.version_command = version

    def version(self):
        if not self.version_command:
            return "unknown"
        words = [word.format(top=TOP) for word in shlex.split(self.version_command)]
        ran = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        lines = (ran.stdout + ran.stderr).strip().splitlines()
        return lines[-1].strip() if lines else "unknown"


def floor():
    return Gateway("bare hyper", f"{shlex.quote(tool('bare-hyper'))} {{port}}", config="none")


def wrapper():
    words = shlex.quote(ours("mcp-wrapper"))
    return Gateway("mcp-wrapper", words, config="servers.toml", version=f"{words} --version")


def known_peers():
    """Those that are here."""
    with open(os.path.join(HERE, "peers.toml"), "rb") as peers:
        all_peers = tomllib.load(peers)
    found = []
    for name, peer in all_peers.items():
        if os.access(shlex.split(peer["command"])[0].format(top=TOP), os.X_OK):
            found.append(Gateway(name, **peer))
    return found


def configured(form, children, port):
    if form == "servers.toml":
        lines = []
        for name, one in children.items():
            lines += [f"[servers.{name}]", f"command = {json.dumps(one['command'])}", f"args = {json.dumps(one['args'])}"]
        return "\n".join(lines) + "\n"
    if form == "backends":
        lines = ["[proxy]", 'name = "bench"', "[proxy.listen]", 'host = "127.0.0.1"', f"port = {port}"]
        for name, one in children.items():
            lines += ["[[backends]]", f"name = {json.dumps(name)}", 'transport = "stdio"']
            lines += [f"command = {json.dumps(one['command'])}", f"args = {json.dumps(one['args'])}"]
        return "\n".join(lines) + "\n"
    return json.dumps({"mcpServers": children}, indent=1)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Running:
    """One gateway and its folder. Use it with `with`."""

    def __init__(self, gateway, children, is_started=True, prefix=()):
        self.gateway = gateway
        self.n_children = len(children)
        self.folder = tempfile.mkdtemp(prefix="bench-")
        self.port = free_port()
        self.config = os.path.join(self.folder, "servers.toml" if gateway.config != "mcpServers" else "servers.json")
        with open(self.config, "w", encoding="utf-8") as config:
            config.write(configured(gateway.config, children, self.port))
        places = {"config": self.config, "port": self.port, "folder": self.folder, "top": TOP}
        self.words = [*prefix, *(word.format(**places) for word in shlex.split(gateway.command))]
        self.url = gateway.url.format(port=self.port, server="echo")
        # The settings of the caller's own gateway are none of this one's. Its log is at info, as it comes.
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("MCP_")}
        self.env.update(HOME=self.folder, LOG_LEVEL="info", RUST_LOG="info", MCP_PORT=str(self.port))
        self.output = open(os.path.join(self.folder, "output.txt"), "ab")
        self.process = None
        if is_started:
            self.start()

    def start(self):
        self.process = subprocess.Popen(
            self.words, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output
        )

    @property
    def pid(self):
        return self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_why):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.output.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def last_words(self):
        with open(os.path.join(self.folder, "output.txt"), encoding="utf-8", errors="replace") as output:
            lines = [line.strip() for line in output if re.search("[A-Za-z]{3}", line)]
        return lines[-1][:300] if lines else "nothing"

    # --- measurements ---

    def http(self, *words):
        pid = ["--pid", str(self.pid)] if self.process else []
        return self.load("http", self.url, *pid, *words)

    def load(self, verb, *words, command=()):
        if self.process and self.process.poll() is not None:
            raise Failed(f"{self.gateway.name} has ended: {self.last_words()}")
        try:
            return load(verb, *words, command=command, env=self.env, cwd=self.folder)
        except Failed as failed:
            raise Failed(f"{self.gateway.name}: {failed}") from failed


def load(verb, *words, command=(), env=None, cwd=None):
    # What the gateway itself needs from its loader is not for what measures it.
    env = {name: value for name, value in (env or os.environ).items() if name != "LD_PRELOAD"}
    line = [tool("load"), verb, *map(str, words), *(["--", *command] if command else [])]
    try:
        ran = subprocess.run(line, capture_output=True, text=True, timeout=600, check=False, env=env, cwd=cwd)
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{verb} {words}: no figure within 600 s") from late
    if ran.returncode != 0:
        raise Failed(f"{verb} {' '.join(map(str, words))}: {ran.stderr.strip()[-300:]}")
    return json.loads(ran.stdout)


def calm(seconds=0.3):
    """What a measurement has left to do is done before the next begins."""
    time.sleep(seconds)
