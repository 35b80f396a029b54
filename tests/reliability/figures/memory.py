"""The peak of a gateway's memory while a child answers with one line of a hundred megabytes."""

import asyncio

import gateway
import procs

N_BYTES = 100_000_000
# Seconds that a call may take.
PATIENCE = 60.0


async def measure(one, options):
    made = {
        "big": gateway.fake_child("--name", "big", tools="echo,huge"),
        "other": gateway.fake_child("--name", "other", tools="echo"),
    }
    with one.start(made) as running:
        await running.ready([("big", "echo"), ("big", "huge"), ("other", "echo")])
        caller, other = running.client("big"), running.client("other")
        await caller.open()
        await other.open()
        for _warm_up in range(20):
            await caller.call(running.tool("big", "echo"), {"text": "x" * 1000})
        own = running.own()
        for process in own:
            procs.forget_peak(process.pid)
        before = sum(procs.status_kib(process.pid, "VmRSS") for process in own)
        slowest, outcome = 0.0, None
        call = asyncio.ensure_future(caller.call(running.tool("big", "huge"), {"bytes": N_BYTES}, PATIENCE))
        while not call.done():
            quick = await other.call(running.tool("other", "echo"), None, PATIENCE)
            slowest = max(slowest, quick.seconds)
            await asyncio.sleep(0.02)
        outcome = await call
        peak = sum(procs.status_kib(process.pid, "VmHWM") for process in own)
        again = await caller.call(running.tool("big", "echo"), None, PATIENCE)
        is_there = running.process.poll() is None
    return {
        "bytes": N_BYTES,
        "before_mib": round(before / 1024, 1),
        "peak_mib": round(peak / 1024, 1),
        "grown_mib": round((peak - before) / 1024, 1),
        "outcome": outcome.kind,
        "passed_bytes": outcome.n_bytes,
        "code": outcome.value.get("code") if outcome.kind == "error" else None,
        "seconds": round(outcome.seconds, 1),
        "others_slowest_ms": round(slowest * 1000, 1),
        "next_call": again.kind,
        "alive": is_there,
    }


def rows(value):
    if value["outcome"] == "result":
        came = "the line is passed on"
    elif value["code"] is not None:
        came = f"error {value['code']}"
    else:
        came = {"silent": f"nothing within {PATIENCE:.0f} s"}.get(value["outcome"], value["outcome"])
    grown = f"{value['peak_mib']} MiB ({value['grown_mib']} MiB more than before; the caller: {came})"
    yield "peak of the gateway's resident memory on a 100 MB line from a child", grown
    yield "… the slowest call of another client to another child meanwhile", f"{value['others_slowest_ms']:,} ms"
    yield "… the next call of the same client", value["next_call"]


def faults(value):
    # Twice the longest message that is taken, and what comes beside it.
    if value["grown_mib"] > 40:
        yield f"memory grew by {value['grown_mib']} MiB on a line of 100 MB"
    if not value["alive"] or value["next_call"] != "result":
        yield f"after a line of 100 MB: alive {value['alive']}, the next call {value['next_call']}"
