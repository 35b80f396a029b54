"""What two hundred children that exit at every start do to a healthy one, and to the processor."""

import asyncio
import time

import gateway
import procs
import stats

N_LOOPING = 200
# Seconds at the beginning that are told apart: a supervisor with a limit tries most then.
FIRST = 10.0
# Calls a second to the healthy child.
RATE = 50.0


async def measure(one, options):
    alone = await watch(one, options, 0)
    among = await watch(one, options, N_LOOPING if not options.quick else 50)
    return {"alone": alone, "among": among, "looping": N_LOOPING if not options.quick else 50, "seconds": options.seconds}


async def watch(one, options, n_looping):
    made = {"healthy": gateway.fake_child("--name", "healthy", tools="echo")}
    for number in range(n_looping):
        looping = gateway.fake_child("--name", f"loop{number}", "--exit-at-start", "1")
        made[f"loop{number}"] = looping
    with one.start(made) as running:
        start_s = await running.ready([("healthy", "echo")])
        client = running.client("healthy")
        await client.open()
        took, bad, first = [], 0, []
        began = time.monotonic()
        cpu = used(running)
        while time.monotonic() - began < options.seconds:
            next_one = time.monotonic() + 1 / RATE
            outcome = await client.call(running.tool("healthy", "echo"))
            bad += not outcome.is_good
            (first if outcome.began - began < min(FIRST, options.seconds / 2) else took).append(outcome.seconds)
            await asyncio.sleep(max(0.0, next_one - time.monotonic()))
        passed = time.monotonic() - began
        cpu = used(running) - cpu
        await client.end()
    return {
        "calls": len(first) + len(took),
        "bad": bad,
        "start_s": round(start_s, 2),
        "first_p50_ms": stats.ms(stats.quantile(first, 0.5)),
        "first_p99_ms": stats.ms(stats.quantile(first, 0.99)),
        "p50_ms": stats.ms(stats.quantile(took, 0.5)),
        "p99_ms": stats.ms(stats.quantile(took, 0.99)),
        "max_ms": stats.ms(max(first + took)),
        "cpu_percent": round(100 * cpu / passed, 1),
    }


def used(running):
    """Seconds of the processor of the gateway's main process; its children pay for themselves."""
    now = procs.seen(running.pid)
    return now.cpu if now else 0.0


def rows(value):
    alone, among = value["alone"], value["among"]
    n = value["looping"]
    name = "a healthy child's p50 / p99 in the first ten seconds, alone, and among children that exit at every start"
    bad = f"; {among['bad']} of {among['calls']} calls failed" if among["bad"] else ""
    yield name, (
        f"{alone['first_p50_ms']} / {alone['first_p99_ms']} ms, "
        f"{among['first_p50_ms']} / {among['first_p99_ms']} ms among {n}{bad}"
    )
    yield "… in the time after that", (
        f"{alone['p50_ms']} / {alone['p99_ms']} ms, {among['p50_ms']} / {among['p99_ms']} ms"
    )
    text = f"{among['cpu_percent']} % (alone {alone['cpu_percent']} %)"
    yield "… the gateway's own share of one core meanwhile", text


def faults(value):
    if value["among"]["bad"]:
        yield f"{value['among']['bad']} calls of a healthy child failed among crash loops"
