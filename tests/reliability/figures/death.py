"""How long a caller waits for bad news, and for the next good answer, when a child dies during its call.

Each child dies once, after it has served for more than ten seconds: a later death is answered with growing waits by
any supervisor, and would measure its policy.
"""

import asyncio
import os
import signal
import time

import gateway
import procs
import stats

# Seconds that a child has served before it is killed.
SERVED = 10.5
# Children at once; each round measures all of them, one after the other.
AT_ONCE = 10
# Seconds until a session that gets no good answer any more is given up.
GIVE_UP = 20.0


async def measure(one, options):
    told, again, kinds, n_lost = [], [], {}, 0
    n_left = options.deaths
    began = time.monotonic()
    while n_left > 0 and time.monotonic() - began < options.limit:
        names = [f"mortal{number}" for number in range(min(AT_ONCE, n_left))]
        n_left -= len(names)
        # What a child was told is in its journal, so that it is killed in the call and not before.
        journals = {name: os.path.join(options.scratch, f"{name}.{n_left}.journal") for name in names}
        made = {
            name: gateway.fake_child("--name", name, tools="echo,hang", journal=journals[name]) for name in names
        }
        with one.start(made) as running:
            await running.ready([(name, tool) for name in names for tool in ("echo", "hang")])
            await asyncio.sleep(SERVED)
            for name in names:
                if time.monotonic() - began > options.limit:
                    break
                seen = await one_death(running, name, journals[name])
                kinds[seen["kind"]] = kinds.get(seen["kind"], 0) + 1
                if seen["told"] is not None:
                    told.append(seen["told"])
                if seen["again"] is not None:
                    again.append(seen["again"])
                else:
                    n_lost += 1
    return {
        "deaths": sum(kinds.values()),
        "kinds": kinds,
        "told_median_ms": stats.ms(stats.median(told)),
        "told_max_ms": stats.ms(max(told, default=None)),
        "again_median_ms": stats.ms(stats.median(again)),
        "again_max_ms": stats.ms(max(again, default=None)),
        "never_again": n_lost,
    }


async def one_death(running, name, journal):
    caller = running.client(name)
    await caller.open()
    await caller.call(running.tool(name, "echo"))
    call = asyncio.ensure_future(caller.call(running.tool(name, "hang"), patience=30))
    deadline = time.monotonic() + 10
    while not was_called(journal) and not call.done() and time.monotonic() < deadline:
        await asyncio.sleep(0.001)
    # Only now: some gateways make a process for each call.
    pid = running.child_pid(name)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    died = time.monotonic()
    outcome = await call
    told = outcome.ended - died if outcome.is_answered or outcome.kind == "broken" else None
    again = None
    # In the same session; a client that has to shake hands anew has lost its state.
    while again is None and time.monotonic() - died < GIVE_UP:
        next_one = await caller.call(running.tool(name, "echo"), patience=GIVE_UP)
        if next_one.is_good:
            again = next_one.ended - died
        else:
            await asyncio.sleep(0.01)
    await caller.end()
    procs.reap({running.pid})
    return {"kind": outcome.kind, "told": told, "again": again}


def was_called(journal):
    with open(journal, "rb") as lines:
        return any(line.startswith(b"in ") and b"tools/call" in line and b'"hang"' in line for line in lines)


def rows(value):
    name = "from a child's death in a call to what its caller hears of it: median, max"
    kinds = value["kinds"]
    silent = kinds.get("silent", 0)
    if value["told_median_ms"] is None:
        yield name, f"– (nothing within 30 s, {value['deaths']} deaths)"
    else:
        more = f"; nothing within 30 s in {silent}" if silent else ""
        yield name, f"{value['told_median_ms']} ms, {value['told_max_ms']} ms of {value['deaths']}{more}"
    name = "… to the next good answer in the same session: median, max"
    if value["again_median_ms"] is None:
        yield name, f"– (none within {GIVE_UP:.0f} s)"
    else:
        never = f"; none within {GIVE_UP:.0f} s in {value['never_again']}" if value["never_again"] else ""
        yield name, f"{value['again_median_ms']} ms, {value['again_max_ms']} ms{never}"


def faults(value):
    if value["kinds"] != {"error": value["deaths"]}:
        yield f"a death in a call was not told by an error: {value['kinds']}"
    if value["never_again"]:
        yield f"no good answer after {value['never_again']} deaths"
