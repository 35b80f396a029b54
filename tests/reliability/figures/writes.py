"""Writes to the registry that were acknowledged and are not there after `kill -9`.

Measured by the integration test of that promise, with more rounds: in each, four `mcpctl add` and `mcpctl remove` run
while the daemon, and some of them, are killed at random moments; then the database is checked and opened, and every
change that was acknowledged (status 0, or a word on stdout) has to be there, whole. It drives debug builds, and stops
at the first loss; so its success says that none was lost.
"""

import os
import re
import subprocess
import time

import gateway

TEST = "faults::storage::kills::q06_the_registry_survives_sigkill_while_it_is_written"


async def measure(one, options):
    if not one.is_ours:
        raise gateway.Unable("it keeps no definitions of its own that could be written")
    command = ["cargo", "test", "--locked", "--test", "it", "--", "--exact", TEST, "--nocapture"]
    env = {**os.environ, "CHAOS_ROUNDS": str(options.write_rounds)}
    began = time.monotonic()
    ran = subprocess.run(command, cwd=gateway.TOP, env=env, capture_output=True, text=True, check=False)
    said = re.search(r"Q06: (\d+) rounds, (\d+) acknowledged changes", ran.stdout + ran.stderr)
    return {
        "rounds": int(said[1]) if said else options.write_rounds,
        "acknowledged": int(said[2]) if said else 0,
        "passed": ran.returncode == 0 and said is not None,
        "seconds": round(time.monotonic() - began),
        "last_words": "" if ran.returncode == 0 else (ran.stdout + ran.stderr)[-2000:],
    }


def rows(value):
    name = "registry writes that were acknowledged and lost by `kill -9`"
    lost = f"0 of {value['acknowledged']:,} in {value['rounds']:,} rounds" if value["passed"] else "the test failed"
    yield name, lost


def faults(value):
    if not value["passed"]:
        yield f"the test of acknowledged writes failed: {value['last_words']}"
