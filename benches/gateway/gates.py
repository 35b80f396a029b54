"""What is promised: a gate that is to hold, a goal beyond it, and how both are made of the figures."""

from dataclasses import dataclass
from typing import Callable, Optional

OURS, FLOOR, CHILD = "mcp-wrapper", "bare hyper", "the child itself"


@dataclass
class Gate:
    what: str
    unit: str
    gate: float
    goal: float
    is_more_better: bool
    value: Callable[..., Optional[float]]

    def verdict(self, value):
        if value is None:
            return "not measured"
        reaches = (lambda bound: value >= bound) if self.is_more_better else (lambda bound: value <= bound)
        return "goal reached" if reaches(self.goal) else "held" if reaches(self.gate) else "missed"


def at_least(what, unit, gate, goal, value):
    return Gate(what, unit, gate, goal, True, value)


def at_most(what, unit, gate, goal, value):
    return Gate(what, unit, gate, goal, False, value)


def best_peer(results, figure):
    """Against the fastest of the others in each round, which is the best that there is."""
    peers = [name for name in results.all if name not in (OURS, FLOOR, CHILD)]
    ratios = [results.ratio((OURS, figure, "rate"), (peer, figure, "rate")) for peer in peers]
    return min((ratio for ratio in ratios if ratio is not None), default=None)


def of_floor(figure, field):
    return lambda results: results.ratio((OURS, figure, field), (FLOOR, figure, field))


def own(figure, field, scale=1.0):
    def value(results):
        found = results.median(OURS, figure, field)
        return None if found is None else found * scale

    return value


def between(one, other, field):
    return lambda results: results.ratio((OURS, one, field), (OURS, other, field))


def more(one, other, field):
    return lambda results: results.added((OURS, one, field), (OURS, other, field))


def streams(made):
    def value(results):
        found = [made(one) for one in results.all.get(OURS, {}).get("streams", [])]
        return sorted(found)[len(found) // 2] if found else None

    return value


KIB_TO_MIB = 1 / 1024
GATES = [
    at_least("calls/s at 16, against the best peer", "×", 1.25, 1.5, lambda results: best_peer(results, "at 16")),
    at_least("calls/s at 64, against the best peer", "×", 1.25, 1.5, lambda results: best_peer(results, "at 64")),
    at_least("calls/s at 64, against bare hyper", "×", 0.60, 0.75, of_floor("at 64", "rate")),
    at_most("gateway's processor time per call at 64, against bare hyper", "×", 2.2, 1.8, of_floor("at 64", "cpu_us")),
    at_most("p50 at 1, added over bare hyper", "µs", 30, 20, lambda results: results.added((OURS, "at 1", "p50_us"), (FLOOR, "at 1", "p50_us"))),
    at_most("p99 at 64, against bare hyper", "×", 2.0, 1.5, of_floor("at 64", "p99_us")),
    at_least("answers of 1 MiB, against bare hyper", "×", 0.70, 0.85, of_floor("1 MiB back", "rate")),
    at_least("arguments of 1 MiB, against bare hyper", "×", 0.70, 0.85, of_floor("1 MiB there", "rate")),
    at_most("memory idle, 1 child", "MiB", 8, 5, own("idle", "idle_kib", KIB_TO_MIB)),
    at_most("memory idle, 50 children", "MiB", 12, 8, own("idle 50", "idle_kib", KIB_TO_MIB)),
    at_most("memory after load", "MiB", 16, 12, own("at 64", "loaded_kib", KIB_TO_MIB)),
    at_most("memory after load of 1 MiB messages", "MiB", 32, 20, own("1 MiB there", "loaded_kib", KIB_TO_MIB)),
    at_most("1,000 idle event streams: memory added", "MiB", 20, 10, streams(lambda one: (one["streams_kib"] - one["alone_kib"]) * KIB_TO_MIB)),
    at_most("1,000 idle event streams: time to open", "ms", 1000, 500, streams(lambda one: one["open_ms"])),
    at_most("1,000 idle event streams: p50 of calls meanwhile", "×", 1.3, 1.1, streams(lambda one: one["meanwhile"]["p50_us"] / one["alone"]["p50_us"])),
    at_least("10,000 idle event streams: held", "", 0, 10_000, own("streams 10,000", "streams")),
    at_most("start of the gateway to the first full list, 50 children, saved", "ms", 15, 8, own("start saved", "full_ms")),
    at_most("start of the gateway to the first full list, 50 children, cold", "ms", 60, 35, own("start cold", "full_ms")),
    at_most("list of 200 tools: p50", "ms", 0.5, 0.15, own("list 200", "p50_us", 1 / 1000)),
    at_least("calls/s at 64: 50 children against 1", "×", 0.9, 1.0, between("of 50", "door 64", "rate")),
    at_least("calls/s at 100: 100 sessions against 1", "×", 0.95, 1.0, between("sessions 100", "sessions 1", "rate")),
    at_most("a child dies in a call: error to the caller", "ms", 20, 5, own("death", "told_ms")),
    at_most("a child dies in a call: next call in the same session (the child starts in 20 ms, and had served for 10 s)", "ms", 150, 50, own("death", "again_ms")),
    at_most("stdio door: p50 added over the child's own stdio", "µs", 60, 40, lambda results: results.added((OURS, "pipe 1", "p50_us"), (CHILD, "pipe 1", "p50_us"))),
    at_least("stdio door: calls/s at 16 against the HTTP door", "×", 0.7, 1.2, lambda results: results.ratio((OURS, "pipe 16", "rate"), (OURS, "door 16", "rate"))),
    at_most("`mcp-wrapper stdio`: start to the answer to `initialize`, daemon running", "ms", 15, 8, own("pipe 1", "first_ms")),
    at_least("stateless door (2026-07-28) against the handshake door, calls/s at 64", "×", 0.9, 1.0, between("modern 64", "door 64", "rate")),
    at_most("a call across the eras: p50 added", "µs", 15, 8, more("across 1", "door 1", "p50_us")),
]
