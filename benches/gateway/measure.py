"""What is measured, in which rounds. Every figure is a list with one value a round, so that ratios are of one round."""

import statistics

from gateways import Failed, Running, calm, child, load, ours, tool, wrapper


class Results:
    """gateway -> figure -> one object a round."""

    def __init__(self):
        self.all = {}
        self.notes = []

    def add(self, gateway, figure, result):
        self.all.setdefault(gateway, {}).setdefault(figure, []).append(result)

    def values(self, gateway, figure, field):
        return [result[field] for result in self.all.get(gateway, {}).get(figure, [])]

    def median(self, gateway, figure, field):
        values = self.values(gateway, figure, field)
        return statistics.median(values) if values else None

    def paired(self, one, other, made):
        """The median over rounds of what `made` makes of two figures of a round, each (gateway, figure, field)."""
        pairs = list(zip(self.values(*one), self.values(*other)))
        return statistics.median(made(*pair) for pair in pairs) if pairs else None

    def ratio(self, one, other):
        return self.paired(one, other, lambda mine, theirs: mine / theirs)

    def added(self, one, other):
        return self.paired(one, other, lambda mine, theirs: mine - theirs)


MIB = 1 << 20
# Of every gateway. The order matters: memory after load is that after `at 64`, and large messages come last.
COMMON = {
    "at 1": ("--connections", 1),
    "at 16": ("--connections", 16),
    "at 64": ("--connections", 64),
    "1 MiB back": ("--connections", 4, "--want", MIB),
    "1 MiB there": ("--connections", 4, "--send", MIB),
}
# Seconds that a child lives before it is made to die: as long as one has to that is not taken for one in a loop of
# crashes.
REST = 10.5


def rounds(options, gateways, results):
    """Calls, interleaved: each gateway is asked for each figure in each round, the first of them another each time."""
    seconds = ("--seconds", options.seconds)
    running = []
    try:
        for gateway in gateways:
            children = {} if gateway.config == "none" else {"echo": child()}
            running.append(Running(gateway, children))
        for one in list(running):
            try:
                # Also waits until it is ready, so that its memory before any load is known.
                results.add(one.gateway.name, "idle", one.http("--calls", 1, "--warm", 0))
            except Failed as failed:
                results.notes.append(str(failed))
                running.remove(one)
                one.__exit__()
        for n_th in range(options.rounds):
            for figure, words in COMMON.items():
                for place in range(len(running)):
                    one = running[(place + n_th) % len(running)]
                    attempt(results, one, one.gateway.name, figure, *words, *seconds)
            options.say(f"round {n_th + 1} of {options.rounds}")
    finally:
        for one in running:
            one.__exit__()


def attempt(results, running, name, figure, *words):
    calm()
    try:
        results.add(name, figure, running.http(*words))
    except Failed as failed:
        results.notes.append(f"{figure}: {failed}")


def ours_alone(options, results):
    """What only ours is asked for, or what needs children of its own."""
    name = "mcp-wrapper"
    seconds = ("--seconds", options.seconds)
    many = {f"s{n}": child() for n in range(50)}
    with (
        Running(wrapper(), {"echo": child()}) as one,
        Running(wrapper(), {"echo": child("--modern")}) as across,
        Running(wrapper(), many) as fifty,
    ):
        for running, figure in [(one, "idle 1"), (across, "idle across"), (fifty, "idle 50")]:
            results.add(name, figure, running.http("--calls", 1, "--warm", 0, "--servers", running.n_children))
        for n_th in range(options.rounds):
            attempt(results, one, name, "door 1", "--connections", 1, *seconds)
            attempt(results, across, name, "across 1", "--connections", 1, *seconds)
            attempt(results, one, name, "modern 1", "--connections", 1, "--modern", *seconds)
            attempt(results, one, name, "door 64", "--connections", 64, *seconds)
            attempt(results, one, name, "modern 64", "--connections", 64, "--modern", *seconds)
            attempt(results, fifty, name, "of 50", "--connections", 64, "--servers", 50, *seconds)
            attempt(results, one, name, "sessions 100", "--connections", 100, "--sessions", 100, *seconds)
            attempt(results, one, name, "sessions 1", "--connections", 100, "--sessions", 1, *seconds)
            attempt(results, one, name, "door 16", "--connections", 16, *seconds)
            pipes(results, name, one, seconds)
            options.say(f"doors, round {n_th + 1} of {options.rounds}")
    once(options, results, name, many)


def pipes(results, name, one, seconds):
    shim = [ours("mcp-wrapper"), "stdio"]
    for connections in (1, 16):
        calm()
        words = ("--connections", connections, *seconds)
        results.add("the child itself", f"pipe {connections}", load("stdio", *words, command=[tool("echo-child")]))
        calm()
        found = one.load("stdio", *words, "--pid", one.pid, command=shim)
        results.add(name, f"pipe {connections}", found)


def once(options, results, name, many):
    """What happens once in the life of something: starts, deaths, streams that are opened."""
    short = ("--seconds", min(options.seconds, 1))
    for n_th in range(options.rounds):
        with Running(wrapper(), {"echo": child()}) as one:
            attempt(results, one, name, "streams", "--streams", 1000, *short)
        with Running(wrapper(), {"echo": child("--tools", "200")}) as one:
            attempt(results, one, name, "list 200", "--method", "tools/list", *short)
        with Running(wrapper(), {"echo": child("--start-ms", "20")}) as one:
            results.add(name, "death", one.load("death", one.url, "--rounds", 1, "--rest", REST))
        with Running(wrapper(), many, is_started=False) as fifty:
            for figure in ("cold", "saved"):
                words = (fifty.url, "--servers", 50)
                results.add(name, f"start {figure}", fifty.load("start", *words, command=fifty.words))
        options.say(f"starts and deaths, round {n_th + 1} of {options.rounds}")
    with Running(wrapper(), {"echo": child()}) as one:
        attempt(results, one, name, "streams 10,000", "--streams", 10_000, *short)
