"""Instructions per call, counted by callgrind: the one figure that does not depend on what else the machine does.

Counted in the gateway alone, with one request in flight, so that every run goes the same way.
"""

import glob
import json
import os
import re
import subprocess

import document
from gateways import HERE, TARGET, Failed, Running, calm, child, ours, wrapper

RECORD = os.path.join(HERE, "instructions.json")
# A door that has grown by more than this is told, and fails.
TOLERANCE = 0.02
N_CALLS = 2000
VALGRIND = ["valgrind", "--tool=callgrind", "--separate-threads=no", "--callgrind-out-file=callgrind.out"]
ITSELF = os.path.join(TARGET, "bench", "itself.so")


def control(running, *words):
    # It finds the processes of valgrind by their pid alone.
    subprocess.run(["callgrind_control", *words, str(running.pid)], check=True, capture_output=True, timeout=60)


def counted(running, measured):
    for old in glob.glob(os.path.join(running.folder, "callgrind.out*")):
        os.remove(old)
    control(running, "--zero")
    measured()
    control(running, "--dump")
    totals = []
    for path in glob.glob(os.path.join(running.folder, "callgrind.out*")):
        with open(path, encoding="utf-8") as dump:
            totals += [int(found) for found in re.findall(r"^(?:summary|totals): (\d+)", dump.read(), re.M)[:1]]
    return sum(totals)


def of_doors():
    doors = {}
    source = os.path.join(HERE, "itself.c")
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", ITSELF, source, "-ldl"], check=True, timeout=60)
    with Running(wrapper(), {"echo": child()}, is_started=False, prefix=VALGRIND) as running:
        running.env.update(LD_PRELOAD=ITSELF, ITSELF=ours("mcp-wrapper"))
        running.start()
        ways = {
            "HTTP, with a session": lambda n: running.http("--calls", n, "--warm", 0),
            "HTTP, 2026-07-28": lambda n: running.http("--calls", n, "--warm", 0, "--modern"),
            "HTTP, 16 in flight": lambda n: running.http("--calls", n, "--warm", 0, "--connections", 16),
            "HTTP, answers of 64 KiB": lambda n: running.http("--calls", n, "--warm", 0, "--want", 65536),
        }
        for name, way in ways.items():
            way(N_CALLS // 10)
            calm(1.0)
            few = counted(running, lambda: way(N_CALLS // 10))
            many = counted(running, lambda: way(N_CALLS + N_CALLS // 10))
            # What each run does once is in both.
            doors[name] = round((many - few) / N_CALLS)
    return doors


def run(options):
    try:
        found = of_doors()
    except (Failed, subprocess.SubprocessError, OSError) as failed:
        print(f"no figures: {failed}")
        return 1
    try:
        with open(RECORD, encoding="utf-8") as record:
            before = json.load(record)
    except FileNotFoundError:
        before = {}
    grown = []
    lines = ["| | instructions per call | recorded |", "| --- | --- | --- |"]
    for name, n in found.items():
        known = before.get(name)
        change = "–" if known is None else f"{known:,} ({n / known - 1:+.1%})"
        lines.append(f"| {name} | {n:,} | {change} |")
        if known is not None and n > known * (1 + TOLERANCE):
            grown.append(name)
    print("\n".join(lines))
    if options.record:
        with open(RECORD, "w", encoding="utf-8") as record:
            json.dump(found, record, indent=1)
            record.write("\n")
        plain = [f"| {name} | {n:,} |" for name, n in found.items()]
        document.put("instructions", ["| | instructions per call |", "| --- | --- |", *plain])
        return 0
    for name in grown:
        print(f"grown by more than {TOLERANCE:.0%}: {name}")
    return 1 if grown else 0
