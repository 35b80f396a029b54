"""Mixed chaos for as long as one likes, with the invariants watched all the while.

Clients call tools of children that misbehave in every way they know, at a gentle rate; meanwhile processes are killed
and stopped from outside. Some children are left alone by everybody: they must not notice.
"""

import asyncio
import datetime
import os
import random
import re
import signal
import time

import gateway
import mcp
import procs
import stats

TOOLS = (
    "echo,effect,sleep,progress,boom,kill_self,half_line,junk,huge,invalid_utf8,twice,wrong_id,close_stdout,"
    "stderr,stderr_escapes,result_and_error,pid"
)
# Tools that clients call on attacked children, with arguments and weights. What misbehaves is rare, so that the
# machine is not busy with starting processes.
DEEDS = (
    (900, "echo", {"a": "text", "n": 1.5}),
    (200, "effect", {}),
    (60, "sleep", {"ms": 120}),
    (40, "progress", {"n": 5, "ms": 20}),
    (20, "junk", {"lines": 50}),
    (20, "stderr", {"lines": 200, "text": "a line of some length on stderr"}),
    (6, "stderr_escapes", {}),
    (10, "twice", {}),
    (6, "invalid_utf8", {}),
    (3, "huge", {"bytes": 2_000_000}),
    (1, "huge", {"bytes": 20_000_000}),
    (2, "wrong_id", {}),
    (2, "result_and_error", {}),
    (2, "boom", {}),
    (2, "kill_self", {}),
    (2, "half_line", {}),
    (1, "close_stdout", {}),
)
# Of fifty children these many are left alone.
QUIET_OF_FIFTY = 10
# Seconds between two samples of the gateway's weight.
SAMPLE = 10.0
# What ours is told beside its defaults, so that a call that a child never answers ends within the time.
SETTINGS = {"call_timeout": "10s"}
# Bounds of what is promised; the growth of a short run is mostly the beginning of a curve, so it has a bound of its own.
SLOPE_MAX_MIB_H = 1.0
GROWN_MAX_MIB = 24.0
MINUTES_FOR_A_SLOPE = 30.0
# A death as our log tells it: when, which server, which cause, which generation.
TOLD = re.compile(r"([-0-9T:.]+)Z +WARN child\{server=([^}]+)\}: .*gone: .*signal 9 .*generation=\d+")
# A death is told within this, seconds: on a machine with many times more work than it can do.
NAMED_WITHIN = 30
# Any line of our log about a server.
LINE = re.compile(r"([-0-9T:.]+)Z +[A-Z]+ child\{server=([^}]+)\}: ")


class Book:
    """What happened, in numbers."""

    def __init__(self):
        self.calls = 0
        self.kinds = {}
        self.unanswered = []
        self.twice = 0
        self.quiet_errors = []
        self.quiet = []
        self.samples = []
        self.kills = []
        self.nonces = {}
        self.sessions = 0
        self.left_midway = 0

    def note(self, server, tool, outcome):
        self.calls += 1
        self.kinds[outcome.kind] = self.kinds.get(outcome.kind, 0) + 1
        if not outcome.is_answered and len(self.unanswered) < 1000:
            self.unanswered.append(f"{server} {tool}: {outcome}")
        self.twice += outcome.n_answers > 1


class Chaos:
    def __init__(self, running, quiet, attacked, n_clients, pause, seed, kill_every):
        self.running = running
        self.quiet = quiet
        self.attacked = attacked
        self.n_clients = n_clients
        # Seconds between two calls of a client, on average.
        self.pause = pause
        self.kill_every = kill_every
        self.dice = random.Random(seed)
        self.book = Book()
        self.is_over = False
        self.weights = [deed[0] for deed in DEEDS]

    async def client(self, number):
        """One client; every so often it goes, with or without a word, and comes again."""
        book = self.book
        one = None
        while not self.is_over:
            await asyncio.sleep(self.dice.expovariate(1 / self.pause))
            is_quiet = number % 5 == 0
            server = self.dice.choice(self.quiet if is_quiet else self.attacked)
            if one is None or "{server}" in self.running.gateway.url:
                if one is not None:
                    one.close()
                one = self.running.client(server)
                outcome = await one.open()
                book.sessions += 1
                if not outcome.is_good:
                    book.note(server, "initialize", outcome)
                    one.close()
                    one = None
                    continue
            if is_quiet:
                outcome = await one.call(self.running.tool(server, "echo"), {"n": number})
                book.note(server, "echo", outcome)
                book.quiet.append((time.monotonic(), outcome.seconds))
                if not outcome.is_good:
                    book.quiet_errors.append(repr(outcome))
            else:
                await self.misbehave(one, server)
            fate = self.dice.random()
            if fate < 0.01:
                await one.end()
                one = None
            elif fate < 0.02:
                # Gone without a word; the session stays until it is forgotten.
                one.close()
                if fate < 0.012:
                    one = None
        if one is not None:
            await one.end()

    async def misbehave(self, one, server):
        (_weight, tool, arguments), book = self.dice.choices(DEEDS, self.weights)[0], self.book
        if tool == "effect":
            arguments = {"nonce": f"{server}-{len(book.nonces)}"}
            book.nonces[arguments["nonce"]] = None
        exposed = self.running.tool(server, tool)
        if tool == "sleep" and self.dice.random() < 0.2:
            # The connection is cut in the middle of the call: nobody waits for an answer any more.
            book.left_midway += 1
            await one.call(exposed, arguments, patience=0.05)
            return
        outcome = await one.call(exposed, arguments)
        if tool == "effect":
            book.nonces[arguments["nonce"]] = outcome
        book.note(server, tool, outcome)

    async def killer(self):
        """From outside: SIGKILL, or SIGSTOP and, a while later, SIGCONT."""
        while not self.is_over:
            await asyncio.sleep(self.dice.expovariate(1 / self.kill_every))
            server = self.dice.choice(self.attacked)
            pid = self.running.child_pid(server)
            # What has died by itself and is not reaped yet cannot be killed any more.
            if pid is None or procs.is_dead(pid):
                continue
            try:
                if self.dice.random() < 0.8:
                    os.kill(pid, signal.SIGKILL)
                    self.book.kills.append((server, "SIGKILL", time.time()))
                else:
                    os.kill(pid, signal.SIGSTOP)
                    await asyncio.sleep(1.0)
                    os.kill(pid, signal.SIGCONT)
                    self.book.kills.append((server, "SIGSTOP", time.time()))
            except OSError:
                pass

    async def sampler(self, until):
        """The gateway's weight, again and again; raises the alarm when it is gone (I6)."""
        while time.monotonic() < until and not self.is_over:
            self.book.samples.append(weigh(self.running))
            procs.reap({self.running.pid})
            if self.running.process.poll() is not None:
                break
            await asyncio.sleep(min(SAMPLE, max(0.05, until - time.monotonic())))
        self.is_over = True

    async def run(self, seconds):
        tasks = [asyncio.ensure_future(self.client(number)) for number in range(self.n_clients)]
        tasks.append(asyncio.ensure_future(self.killer()))
        await self.sampler(time.monotonic() + seconds)
        # Whoever is in the middle of a call has the patience of a call.
        _done, late = await asyncio.wait(tasks, timeout=mcp.PATIENCE + 30)
        for task in late:
            task.cancel()
        return self.book


def weigh(running):
    """(moment, PSS in KiB, own memory in KiB, descriptors, threads, load) of the gateway's main process."""
    pid = running.pid
    try:
        return (
            time.monotonic(),
            procs.pss_kib(pid),
            procs.status_kib(pid, "RssAnon"),
            procs.n_descriptors(pid),
            procs.n_threads(pid),
            os.getloadavg()[0],
        )
    except OSError:
        return (time.monotonic(), 0, 0, 0, 0, os.getloadavg()[0])


def children(n, folder):
    n_quiet = max(1, round(n * QUIET_OF_FIFTY / 50))
    quiet = [f"quiet{number}" for number in range(n_quiet)]
    attacked = [f"wild{number}" for number in range(n - n_quiet)]
    effects = os.path.join(folder, "effects")
    kinds = ("", "setsid", "plain", "double_fork")
    made = {name: gateway.fake_child("--name", name, tools="echo") for name in quiet}
    for number, name in enumerate(attacked):
        family = ["--family", kinds[number % 4]] if number % 4 else []
        made[name] = gateway.fake_child("--name", name, *family, tools=TOOLS, effects=effects)
    return made, quiet, attacked, effects


async def measure(one, options):
    """The figure: slope of memory, and each invariant with what was seen of it."""
    folder = options.scratch
    made, quiet, attacked, effects = children(options.chaos_children, folder)
    seconds = options.minutes * 60
    with one.start(made, SETTINGS) as running:
        await running.ready([(name, "echo") for name in quiet] + [(name, t) for name in attacked for t in TOOLS.split(",")])
        warm = min(600.0, seconds / 6)
        chaos = Chaos(running, quiet, attacked, options.chaos_clients, options.pause, options.seed, options.kill_every)
        book = await chaos.run(seconds)
        is_there = running.process.poll() is None
        cpu = procs.seen(running.pid).cpu if is_there else None
        calm = await calmed(running, book, warm) if is_there else None
        everything = running.everything()
        keep = {running.pid}
        named = deaths_named(running, book) if one.is_ours else None
        if is_there:
            running.process.send_signal(signal.SIGTERM)
            left, took = procs.until_dead(everything, gateway.STOP_PATIENCE, keep)
            running.process.wait(gateway.STOP_PATIENCE)
            left += [one for one in running.everything() if one.key not in {other.key for other in left}]
        else:
            left, took = procs.until_dead(everything, 10.0, keep)
    return report(book, options, {
        "alive": is_there, "calm": calm, "left": [repr(one) for one in left], "stop_s": round(took, 2),
        "warm_s": warm, "effects": read_lines(effects), "named": named,
        "cpu_percent": None if cpu is None else round(100 * cpu / seconds, 1),
    })


async def calmed(running, book, warm):
    """Weight when the storm is over, against the first sample after the warm-up; descriptors need a moment to go."""
    began = book.samples[0][0]
    base = next((sample for sample in book.samples if sample[0] - began >= warm), book.samples[0])
    first = book.samples[0]
    deadline = time.monotonic() + 60
    now = weigh(running)
    while time.monotonic() < deadline and now[3] > first[3] + 3:
        await asyncio.sleep(0.5)
        now = weigh(running)
    return {"fds": (first[3], now[3]), "threads": (first[4], now[4]), "pss_kib": (base[1], now[1])}


def deaths_named(running, book):
    """Which of the kills the log does not tell, with server, cause and generation (I7), and how late the latest was."""
    lines = {}
    for folder, _folders, files in os.walk(os.path.join(running.folder, "logs")):
        for name in files if "children" not in folder else ():
            with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as log:
                for line in log:
                    found = LINE.match(line)
                    if found:
                        when = datetime.datetime.fromisoformat(found[1] + "+00:00").timestamp()
                        lines.setdefault(found[2], []).append((when, line.strip()))

    def told(server, when, within, pattern):
        # The clock of the one who kills is read after the kill.
        return [(other, line) for other, line in lines.get(server, []) if -2 <= other - when <= within and pattern.match(line)]

    kills = [(server, when) for server, kind, when in book.kills if kind == "SIGKILL"]
    named = [(server, when, told(server, when, NAMED_WITHIN, TOLD)) for server, when in kills]
    missing = [
        (server, round(when, 1), [line for _when, line in told(server, when, NAMED_WITHIN, LINE)])
        for server, when, found in named
        if not found
    ]
    latest = max((found[0][0] - when for _server, when, found in named if found), default=0)
    return {"kills": len(kills), "missing": missing, "latest_s": round(max(latest, 0), 2)}


def read_lines(path):
    try:
        with open(path, encoding="utf-8") as lines:
            return lines.read().split()
    except OSError:
        return []


def report(book, options, end):
    began = book.samples[0][0]
    after = [sample for sample in book.samples if sample[0] - began >= end["warm_s"] and sample[1] > 0]
    slope = stats.slope([(sample[0] - began) / 3600 for sample in after], [sample[1] / 1024 for sample in after])
    own = stats.slope([(sample[0] - began) / 3600 for sample in after], [sample[2] / 1024 for sample in after])
    half = [pair for pair in book.quiet if pair[0] - began >= end["warm_s"]] or book.quiet
    middle = half[len(half) // 2][0] if half else 0
    halves = [[s for t, s in half if t < middle], [s for t, s in half if t >= middle]]
    effects = end["effects"]
    return {
        "minutes": options.minutes,
        "children": options.chaos_children,
        "clients": options.chaos_clients,
        "seed": options.seed,
        "calls": book.calls,
        "kinds": book.kinds,
        "sessions": book.sessions,
        "left_midway": book.left_midway,
        "kills": len(book.kills),
        "unanswered": len(book.unanswered),
        "unanswered_first": book.unanswered[:5],
        "answered_twice": book.twice,
        "duplicates": len(effects) - len(set(effects)),
        "executed": len(effects),
        "quiet_calls": len(book.quiet),
        "quiet_errors": len(book.quiet_errors),
        "quiet_errors_first": book.quiet_errors[:5],
        "quiet_p99_ms": [stats.ms(stats.quantile(part, 0.99)) for part in halves],
        "quiet_p50_ms": [stats.ms(stats.quantile(part, 0.50)) for part in halves],
        "slope_mib_h": slope,
        "slope_own_mib_h": own,
        "pss_first_mib": round(after[0][1] / 1024, 1) if after else None,
        "pss_last_mib": round(after[-1][1] / 1024, 1) if after else None,
        "pss_max_mib": round(max(sample[1] for sample in book.samples) / 1024, 1),
        "alive": end["alive"],
        "calm": end["calm"],
        "left": end["left"],
        "stop_s": end["stop_s"],
        "named": end["named"],
        "cpu_percent": end["cpu_percent"],
        "load": [round(min(s[5] for s in book.samples), 1), round(max(s[5] for s in book.samples), 1)],
        "samples": [[round(s[0] - began), s[1], s[2], s[3], s[4], round(s[5], 2)] for s in book.samples],
    }


def rows(value):
    size = f"{value['minutes']:g} min, {value['children']} children, {value['clients']} clients"
    yield "mixed chaos", size
    if value["slope_mib_h"] is not None:
        sizes = f"{value['pss_first_mib']} MiB, at the end {value['pss_last_mib']} MiB"
        yield "… slope of memory after the warm-up", f"{value['slope_mib_h']:+.2f} MiB an hour ({sizes})"
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(value["kinds"].items()))
    yield "… calls by outcome; children killed or stopped from outside", f"{value['calls']:,}: {kinds}; {value['kills']}"
    yield (
        "… I1: calls without an answer, with two, executed twice",
        f"{value['unanswered']}, {value.get('answered_twice', '–')}, {value['duplicates']} (of {value['executed']:,} executed)",
    )
    yield (
        "… I2: failed calls of children that nobody attacks; their p99 in the first and the second half",
        f"{value['quiet_errors']} of {value['quiet_calls']:,}; {value['quiet_p99_ms'][0]} ms, {value['quiet_p99_ms'][1]} ms",
    )
    calm = value["calm"]
    if calm:
        yield "… I3: memory when calm again, against the end of the warm-up", (
            f"{calm['pss_kib'][1] / 1024:.1f} MiB, {calm['pss_kib'][0] / 1024:.1f} MiB"
        )
    yield "… I4: processes left after a stop at the end", f"{len(value['left'])}"
    if calm:
        yield "… I5: descriptors at the start and when calm again; threads", (
            f"{calm['fds'][0]}, {calm['fds'][1]}; {calm['threads'][0]}, {calm['threads'][1]}"
        )
    yield "… I6: the gateway lives at the end", "yes" if value["alive"] else "no"
    named = value["named"]
    if named:
        yield "… I7: kills that its log does not tell with server, cause and generation", (
            f"{len(named['missing'])} of {named['kills']}; the latest after {named.get('latest_s', 2)} s"
        )
    if value["cpu_percent"] is not None:
        yield "… its own share of one core", f"{value['cpu_percent']} %"


def faults(value):
    for name in ("unanswered", "answered_twice", "duplicates", "quiet_errors"):
        if value.get(name):
            yield f"chaos: {name}: {value[name]}"
    if not value["alive"]:
        yield "chaos: the gateway is gone"
    if value["left"]:
        yield f"chaos: {len(value['left'])} processes are left"
    if value["named"] and value["named"]["missing"]:
        yield f"chaos: deaths that the log does not tell: {value['named']['missing']}"
    calm = value["calm"]
    if calm and calm["fds"][1] > calm["fds"][0] + 8:
        yield f"chaos: descriptors: {calm['fds']}"
    if calm and (calm["pss_kib"][1] - calm["pss_kib"][0]) / 1024 > GROWN_MAX_MIB:
        yield f"chaos: memory when calm again: {calm['pss_kib']} KiB"
    slope = value["slope_mib_h"]
    if value["minutes"] >= MINUTES_FOR_A_SLOPE and slope is not None and slope > SLOPE_MAX_MIB_H:
        yield f"chaos: memory grows by {slope} MiB an hour"
