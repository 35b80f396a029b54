"""scripts/bench.sh: rounds of calls to gateways, and what is promised of ours."""

import argparse
import json
import os
import resource
import sys
import time

import document
import instructions
import measure
from gates import GATES
from gateways import Failed, Gateway, floor, known_peers, wrapper


def arguments():
    reader = argparse.ArgumentParser(prog="scripts/bench.sh", description="How fast mcp-wrapper is, beside an HTTP server that does nothing and other gateways.")
    reader.add_argument("--rounds", type=int, default=5, help="rounds, each with every figure of every gateway")
    reader.add_argument("--seconds", type=float, default=2.0, help="how long a figure is measured in a round")
    reader.add_argument("--quick", action="store_true", help="one short round, which tells that the bench works and little else; writes nothing")
    reader.add_argument("--only", choices=["calls", "ours"], help="calls: ours beside others; ours: doors, starts, streams")
    reader.add_argument("--peer", action="append", default=[], metavar="NAME=COMMAND", help="one more gateway; {config} is a file with the children as `mcpServers`, {port} where it is to serve /mcp")
    reader.add_argument("--no-peers", action="store_true", help="not those of peers.toml either")
    reader.add_argument("--no-document", action="store_true", help="leave docs/performance.md as it is")
    reader.add_argument("--strict", action="store_true", help="status 1 when a gate is missed")
    reader.add_argument("--json", metavar="FILE", help="every single value, too")
    reader.add_argument("--instructions", action="store_true", help="instead: instructions per call under callgrind, against the recorded ones")
    reader.add_argument("--record", action="store_true", help="with --instructions: record them")
    return reader.parse_args()


def main():
    options = arguments()
    options.say = lambda text: print(text, file=sys.stderr, flush=True)
    # Ten thousand streams have two ends each, one in the gateway.
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.instructions:
        return instructions.run(options)
    if options.quick:
        options.rounds, options.seconds, options.no_document = 1, 0.3, True
    peers = [] if options.no_peers else known_peers()
    peers += [Gateway(*peer.split("=", 1)) for peer in options.peer]
    gateways = [floor(), wrapper(), *peers]
    results = measure.Results()
    before = os.getloadavg()[0]
    when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    try:
        if options.only != "ours":
            measure.rounds(options, gateways, results)
        if options.only != "calls":
            measure.ours_alone(options, results)
    except Failed as failed:
        print(f"no figures: {failed}", file=sys.stderr)
        return 1
    versions = {gateway.name: gateway.version() for gateway in gateways if gateway.version_command}
    command = " ".join(["scripts/bench.sh", *sys.argv[1:]])
    lines = document.written(results, versions, command, (before, os.getloadavg()[0]), when)
    print("\n".join(lines))
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(results.all, file, indent=1)
    if not options.no_document and options.only is None:
        document.put("figures", lines)
    missed = [gate.what for gate in GATES if gate.verdict(gate.value(results)) == "missed"]
    return 1 if options.strict and missed else 0


sys.exit(main())
