"""The command line: which gateways, which figures, how long."""

import argparse
import copy
import os
import shlex

import gateway

# Sizes: of the published figures, of the tier that takes three quarters of an hour, and of the smoke.
SIZES = {
    "full": {
        "rounds": 10, "deaths": 50, "calls": 100_000, "seconds": 60.0, "write_rounds": 1000, "minutes": 60.0,
        "chaos_children": 50, "chaos_clients": 50, "pause": 1.0, "kill_every": 10.0, "limit": 1800.0,
    },
    "medium": {
        "rounds": 4, "deaths": 20, "calls": 40_000, "seconds": 30.0, "write_rounds": 200, "minutes": 10.0,
        "chaos_children": 50, "chaos_clients": 50, "pause": 1.0, "kill_every": 5.0, "limit": 600.0,
    },
    "quick": {
        "rounds": 1, "deaths": 3, "calls": 2_000, "seconds": 3.0, "write_rounds": 2, "minutes": 0.1,
        "chaos_children": 10, "chaos_clients": 20, "pause": 0.2, "kill_every": 1.0, "limit": 30.0,
    },
}
# Other gateways are given less: what they cannot do they mostly do not do for long.
OF_OTHERS = {"rounds": 3, "deaths": 10, "minutes": 5.0, "limit": 300.0}


def read(words, figures):
    parser = argparse.ArgumentParser(prog="scripts/reliability.sh", description="Measures gateways from outside.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="every figure in its smallest size, in less than a minute")
    size.add_argument("--medium", action="store_true", help="what scripts/chaos.sh runs")
    parser.add_argument("--only", help=f"some of: {','.join(figures)}")
    parser.add_argument("--without", default="", help="all but these")
    parser.add_argument("--seed", type=int, default=1, help="of all that is random (1)")
    for name, value in SIZES["full"].items():
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=type(value), help=f"({value:g})")
    parser.add_argument("--gateway", metavar="NAME", help="another gateway, with --command and --url")
    parser.add_argument("--command", help="'prog --config {config} --port {port}'; also {folder}, {top}")
    parser.add_argument("--url", help="'http://127.0.0.1:{port}/mcp'; with {server} where each has its own")
    parser.add_argument("--config-format", default="mcpServers", choices=["mcpServers", "servers.toml"])
    parser.add_argument("--version-command", help="what prints the version of --gateway")
    parser.add_argument("--peers", nargs="?", const="all", help="those of tests/reliability/peers.toml, or some: a,b")
    parser.add_argument("--not-ours", action="store_true", help="only the others")
    parser.add_argument("--results", default=os.path.join(gateway.TOP, "target", "reliability"), help="a folder")
    parser.add_argument("--document", help="(docs/reliability.md, in the full size)")
    parser.add_argument("--no-document", action="store_true")
    parser.add_argument("--draw-only", action="store_true", help="measure nothing; draw the document of what is kept")
    options = parser.parse_args(words)
    name = "quick" if options.quick else "medium" if options.medium else "full"
    for key, value in SIZES[name].items():
        if getattr(options, key) is None:
            setattr(options, key, value)
        else:
            options.__dict__.setdefault("chosen", set()).add(key)
    options.__dict__.setdefault("chosen", set())
    without = [one for one in options.without.split(",") if one]
    options.only = [one for one in (options.only.split(",") if options.only else figures) if one not in without]
    unknown = set(options.only + without) - set(figures)
    if unknown:
        parser.error(f"unknown figures: {', '.join(sorted(unknown))}")
    if options.gateway and not (options.command and options.url):
        parser.error("--gateway needs --command and --url")
    if name != "full":
        options.no_document = options.no_document or options.document is None
        options.results = os.path.join(options.results, name)
    if options.no_document:
        options.document = None
    elif options.document is None:
        options.document = os.path.join(gateway.TOP, "docs", "reliability.md")
    options.command_line = "scripts/reliability.sh " + shlex.join(words) if words else "scripts/reliability.sh"
    return options


def gateways(options):
    chosen = [] if options.not_ours else [gateway.ours()]
    if options.gateway:
        chosen.append(
            gateway.Gateway(
                options.gateway, options.command, options.url, options.config_format, options.version_command
            )
        )
    if options.peers:
        chosen += peers(None if options.peers == "all" else options.peers.split(","))
    return chosen


def peers(names):
    import tomllib  # Python 3.11; only who compares needs it.

    with open(os.path.join(gateway.TOP, "tests", "reliability", "peers.toml"), "rb") as text:
        known = tomllib.load(text)
    unknown = set(names or []) - set(known)
    if unknown:
        raise SystemExit(f"not in peers.toml: {', '.join(sorted(unknown))}")
    return [
        gateway.Gateway(
            name, one["command"], one["url"], one.get("config_format", "mcpServers"), one.get("version"),
            one.get("without"),
        )
        for name, one in known.items()
        if names is None or name in names
    ]


def for_gateway(options, one):
    """The sizes for this gateway."""
    own = copy.copy(options)
    if not one.is_ours:
        for key, value in OF_OTHERS.items():
            if key not in options.chosen:
                setattr(own, key, min(value, getattr(options, key)))
    return own
