"""Tables, and the part of docs/performance.md that is written by the measurement."""

import os
import platform

from gateways import TOP
from gates import CHILD, FLOOR, GATES, OURS

DOCUMENT = os.path.join(TOP, "docs", "performance.md")


def number(value):
    if value is None:
        return "–"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def gates_table(results):
    lines = ["| | gate | goal | measured | |", "| --- | --- | --- | --- | --- |"]
    for gate in GATES:
        value = gate.value(results)
        sign = "≥" if gate.is_more_better else "≤"
        bounds = [f"{sign} {number(bound)} {gate.unit}".strip() if bound else "–" for bound in (gate.gate, gate.goal)]
        measured = f"{number(value)} {gate.unit}".strip() if value is not None else "–"
        lines.append(f"| {gate.what} | {bounds[0]} | {bounds[1]} | {measured} | {gate.verdict(value)} |")
    return lines


def calls_table(results):
    fields = [("rate", "calls/s"), ("p50_us", "p50, µs"), ("p99_us", "p99, µs"), ("cpu_us", "processor time per call, µs"), ("switches", "switches per call"), ("loaded_kib", "memory after, MiB")]
    lines = ["| in flight | | " + " | ".join(label for _field, label in fields) + " |", "| --- | --- |" + " --- |" * len(fields)]
    names = [FLOOR, OURS] + sorted(name for name in results.all if name not in (OURS, FLOOR, CHILD))
    for figure in ("at 1", "at 16", "at 64", "1 MiB back", "1 MiB there"):
        for name in names:
            values = [results.median(name, figure, field) for field, _label in fields]
            if values[-1] is not None:
                values[-1] /= 1024
            if values[0] is not None:
                lines.append(f"| {figure} | {name} | " + " | ".join(map(number, values)) + " |")
    return lines


def written(results, versions, command, loads, when):
    cores = os.cpu_count()
    about = [
        f"- {when}, `{command}`.",
        f"- Linux {platform.release()}, {platform.machine()}, {cores} cores; the load generator and the children share them. "
        f"Load of the machine before and after: {loads[0]:.1f}, {loads[1]:.1f}.",
        *[f"- {name}: {version}." for name, version in versions.items()],
        *[f"- Not measured: {note}" for note in dict.fromkeys(results.notes)],
    ]
    return [*gates_table(results), "", *calls_table(results), "", *about]


def put(name, lines):
    """Puts lines between the markers of that name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    with open(DOCUMENT, encoding="utf-8") as document:
        text = document.read()
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    with open(DOCUMENT, "w", encoding="utf-8") as document:
        document.write(before + begin + "\n\n" + "\n".join(lines) + "\n\n" + end + after)
