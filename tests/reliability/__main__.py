"""Measures gateways from outside: `scripts/reliability.sh` starts this, and says how it is used.

Each figure of each gateway is kept in a file of its own, so that they can be measured one by one; the document is
drawn from all that are there.
"""

import asyncio
import datetime
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback

import document
import gateway
import options as given
import procs
from figures import chaos, death, kills, loops, memory, survivors, writes

FIGURES = {
    "survivors": survivors,
    "death": death,
    "kills": kills,
    "memory": memory,
    "loops": loops,
    "writes": writes,
    "chaos": chaos,
}


def measured(one, name, options):
    """One figure of one gateway, with all that is needed to judge it."""
    load, began = os.getloadavg()[0], time.monotonic()
    told = {
        "gateway": one.name,
        "figure": name,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "command": options.command_line,
        "cores": os.cpu_count(),
    }
    options.scratch = tempfile.mkdtemp(prefix="reliability-scratch-")
    try:
        told["version"] = one.version()
        if name in one.without:
            raise gateway.Unable(one.without[name])
        told["value"] = asyncio.run(FIGURES[name].measure(one, options))
    except gateway.Unable as why:
        told["unable"] = str(why)
    except Exception as why:  # One figure that fails must not cost the others.
        traceback.print_exc()
        told["unable"] = f"the measurement failed: {type(why).__name__}: {why}"
    finally:
        shutil.rmtree(options.scratch, ignore_errors=True)
    told["load"] = [round(load, 1), round(os.getloadavg()[0], 1)]
    told["seconds"] = round(time.monotonic() - began)
    return told


def faults_of(told):
    """What breaks a promise of ours."""
    if "unable" in told:
        is_ours_to_do = told["figure"] != "writes"
        return [f"{told['figure']}: {told['unable']}"] if is_ours_to_do else []
    return list(FIGURES[told["figure"]].faults(told["value"]))


def show(told):
    print(f"--- {told['gateway']}, {told['figure']} ({told['seconds']} s, load {told['load'][0]} to {told['load'][1]})")
    if "unable" in told:
        print(f"    – {told['unable']}")
    else:
        for label, text in FIGURES[told["figure"]].rows(told["value"]):
            print(f"    {label}: {text}")
    sys.stdout.flush()


def main():
    options = given.read(sys.argv[1:], list(FIGURES))
    # So that what was started is ended also when this program is told to stop.
    signal.signal(signal.SIGTERM, lambda *_signal: sys.exit(143))
    os.makedirs(options.results, exist_ok=True)
    faults = []
    if not options.draw_only:
        procs.become_subreaper()
        for one in given.gateways(options):
            for name in options.only:
                told = measured(one, name, given.for_gateway(options, one))
                show(told)
                with open(os.path.join(options.results, f"{one.name}.{name}.json"), "w", encoding="utf-8") as kept:
                    json.dump(told, kept, indent=1)
                if one.is_ours:
                    faults += faults_of(told)
    if options.document:
        document.draw(options.document, options.results, FIGURES)
        print(f"written: {os.path.relpath(options.document, gateway.TOP)}")
    for fault in faults:
        print(f"FAILED {fault}")
    return 1 if faults else 0


sys.exit(main())
