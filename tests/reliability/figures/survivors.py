"""What is left of twenty children of all kinds after a gateway has ended, told to or killed."""

import os
import random
import signal
import time

import gateway
import procs
import stats

# Kinds of relatives as `fake-child` starts them; the second says what the child itself does not hear.
KINDS = (
    ("plain,setsid,double_fork,deaf,bare,stopped,many:5,pipe", ()),
    ("setsid,deaf", ("--ignore-eof", "--ignore-sigterm")),
    ("bare,double_fork", ("--ignore-eof",)),
    ("many:5", ()),
)
# How many processes live beside the twenty children when all have come: of each kind in turn, five times.
N_RELATIVES = 5 * (12 + 2 + 2 + 5)
# Seconds that are given after the gateway's own end, before survivors are counted.
AFTER_STOP = 1.0
AFTER_KILL = 8.0


def children():
    made = {}
    for number in range(20):
        kinds, deafness = KINDS[number % len(KINDS)]
        name = f"kind{number}"
        made[name] = gateway.fake_child("--name", name, "--family", kinds, *deafness)
    return made


async def measure(one, options):
    dice = random.Random(options.seed)
    rounds = {"stop": [], "kill": []}
    for number in range(options.rounds):
        for way in ("stop", "kill"):
            rounds[way].append(await one_round(one, way, is_early=number % 4 == 3, dice=dice))
    return {way: summed(all_of) for way, all_of in rounds.items()}


async def one_round(one, way, is_early, dice):
    made = children()
    with one.start(made) as running:
        if is_early:
            # In the middle of the starts.
            wait(lambda: grown(running) >= 1 + dice.randrange(40))
        else:
            await running.ready([(name, "echo") for name in made])
            wait(lambda: grown(running) >= N_RELATIVES)
        everything = running.everything()
        n_before = len(everything)
        began = time.monotonic()
        os.kill(running.pid, signal.SIGTERM if way == "stop" else signal.SIGKILL)
        has_ended = wait(lambda: running.process.poll() is not None, gateway.STOP_PATIENCE)
        ended = time.monotonic() - began
        # Whoever was being made at that moment counts as well.
        bound = AFTER_STOP if way == "stop" else AFTER_KILL
        deadline, gone = time.monotonic() + bound, None
        while time.monotonic() < deadline and gone is None:
            procs.reap({running.pid})
            left = running.everything()
            gone = None if left else time.monotonic() - began
            time.sleep(0.02)
        left = running.everything()
        return {
            "processes": n_before, "ended": has_ended, "ended_s": ended, "gone_s": gone,
            "left": len(left), "who": sorted({child.name for child in left}),
        }


def grown(running):
    return sum(1 for one in running.everything() if one.name == "sleep" or one.state == "T")


def wait(condition, seconds=gateway.START_PATIENCE):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def summed(rounds):
    gone = [one["gone_s"] for one in rounds if one["gone_s"] is not None]
    return {
        "rounds": len(rounds),
        "processes": sum(one["processes"] for one in rounds),
        "survivors": sum(one["left"] for one in rounds),
        "survivors_max": max(one["left"] for one in rounds),
        "who": sorted({name for one in rounds for name in one["who"]}),
        "not_ended": sum(not one["ended"] for one in rounds),
        "gone_median_s": round(stats.median(gone), 2) if gone else None,
        "gone_max_s": round(max(gone), 2) if gone else None,
    }


def rows(value):
    named = {"stop": "a stop (SIGTERM)", "kill": "`kill -9`"}
    for way, told in named.items():
        seen = value[way]
        text = f"{seen['survivors']} of {seen['processes']} in {seen['rounds']} rounds"
        if seen["survivors"] == 0 and seen["gone_max_s"] is not None:
            text += f", all gone after {seen['gone_max_s']} s at most"
        elif seen["survivors"]:
            text += f" (at most {seen['survivors_max']} in a round)"
        if seen["not_ended"]:
            text += f"; it did not end itself in {seen['not_ended']} rounds"
        yield f"processes that survive {told} of the gateway", text


def faults(value):
    for way in ("stop", "kill"):
        if value[way]["survivors"] or value[way]["not_ended"]:
            yield f"survivors after {way}: {value[way]}"
