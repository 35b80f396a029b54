"""Many calls while children are killed at random: what was executed twice, what was never answered, what failed.

The oracle of what was executed is the effects file: a child writes the nonce of a call to it, on the disk, before it
answers.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter

import gateway
import procs

N_CHILDREN = 10
N_CLIENTS = 20
# Seconds between two kills from outside.
KILL_EVERY = 0.25
# One of so many calls takes effect, and ends its process before it is answered: the moment that tempts to repeat it.
ONE_DIES_OF = 200
# Seconds until a call counts as unanswered.
PATIENCE = 75.0
# Without these ours would call a child failed that is killed so often, and measure its refusals.
SETTINGS = {"fail_burst": 1000, "backoff_max": "500ms", "queue_max": 1000}


async def measure(one, options):
    dice = random.Random(options.seed)
    names = [f"effect{number}" for number in range(N_CHILDREN)]
    effects = os.path.join(options.scratch, f"effects-of-kills-{one.name}")
    made = {name: gateway.fake_child("--name", name, tools="effect", effects=effects) for name in names}
    ledger, kinds, kills = {}, Counter(), Counter()
    with one.start(made, SETTINGS) as running:
        await running.ready([(name, "effect") for name in names])
        numbers = iter(range(options.calls))
        began = time.monotonic()
        killer = asyncio.ensure_future(kill(running, names, dice, kills))
        shared = until(numbers, began + options.limit)
        clients = [
            call_on(running, names, shared, ledger, kinds, kills, random.Random(dice.random()))
            for _client in range(N_CLIENTS)
        ]
        await asyncio.gather(*clients)
        took = time.monotonic() - began
        killer.cancel()
        # What a child still works on.
        await asyncio.sleep(1)
    with open(effects, encoding="utf-8") as lines:
        executed = Counter(line.strip() for line in lines)
    return {
        "calls": len(ledger),
        "kills": dict(kills),
        "seconds": round(took, 1),
        "executed": len(executed),
        "duplicates": sum(n - 1 for n in executed.values()),
        "kinds": dict(kinds),
        "unanswered": sum(n for kind, n in kinds.items() if kind in ("broken", "silent")),
        "failed": sum(n for kind, n in kinds.items() if kind != "result"),
        # A result for what was never executed, and the promise that nothing was sent for what was.
        "good_but_not_executed": sum(kind == "result" and nonce not in executed for nonce, (kind, _s) in ledger.items()),
        "unsent_but_executed": sum(sent is False and nonce in executed for nonce, (_k, sent) in ledger.items()),
    }


def until(numbers, deadline):
    for number in numbers:
        if time.monotonic() > deadline:
            return
        yield number


async def kill(running, names, dice, kills):
    while True:
        await asyncio.sleep(dice.expovariate(1 / KILL_EVERY))
        pid = running.child_pid(dice.choice(names))
        procs.reap({running.pid})
        if pid is not None:
            try:
                os.kill(pid, signal.SIGKILL)
                kills["from outside"] += 1
            except OSError:
                pass


async def call_on(running, names, numbers, ledger, kinds, kills, dice):
    is_apart = "{server}" in running.gateway.url
    clients = {}
    for number in numbers:
        name, nonce = dice.choice(names), f"n{number}"
        key = name if is_apart else ""
        if key not in clients:
            clients[key] = running.client(name)
            await clients[key].open()
        arguments = {"nonce": nonce}
        if dice.randrange(ONE_DIES_OF) == 0:
            arguments["do"] = "boom_after_effect"
            kills["after their effect"] += 1
        outcome = await clients[key].call(running.tool(name, "effect"), arguments, PATIENCE)
        sent = None
        if outcome.kind == "error":
            data = outcome.value.get("data")
            sent = data.get("sent") if isinstance(data, dict) else None
        ledger[nonce] = (outcome.kind, sent)
        kinds[outcome.kind] += 1
        if not outcome.is_good:
            # A session that is gone is opened anew, as any client would.
            if outcome.kind in ("broken", "refused", "silent"):
                clients.pop(key).close()
            await asyncio.sleep(0.005)
    for client in clients.values():
        await client.end()


def rows(value):
    yield "calls, while children are killed at random", (
        f"{value['calls']:,}; {value['kills'].get('from outside', 0):,} kills from outside, "
        f"{value['kills'].get('after their effect', 0):,} deaths after the effect and before the answer"
    )
    yield "… executed twice", f"{value['duplicates']}"
    yield "… never answered", f"{value['unanswered']}"
    kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(value["kinds"].items()) if kind != "result")
    yield "… failed, as their callers were told", f"{value['failed']}" + (f" ({kinds})" if kinds else "")


def faults(value):
    for name in ("duplicates", "unanswered", "good_but_not_executed", "unsent_but_executed"):
        if value[name]:
            yield f"{name}: {value[name]} of {value['calls']} calls"
