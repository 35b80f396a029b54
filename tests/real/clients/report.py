"""What a client case says: one line a check, and a status that tells whether all of them held."""

import asyncio
import sys
import traceback

CHECK_SECONDS = 30


class Report:
    def __init__(self, case: str) -> None:
        self.case = case
        self.n_failed = 0

    async def check(self, what: str, made) -> None:
        """Awaits one check within its time; an exception of any kind is a failure, and the next check goes on."""
        try:
            await asyncio.wait_for(made, CHECK_SECONDS)
        except Exception as error:
            self.n_failed += 1
            reason = str(error).replace("\n", " ")[:600] or type(error).__name__
            print(f"FAIL {self.case}: {what}: {reason}", flush=True)
            traceback.print_exc(file=sys.stderr)
        else:
            print(f"ok   {self.case}: {what}", flush=True)

    def status(self) -> int:
        return 1 if self.n_failed else 0


def expect(held: bool, came: object) -> None:
    """`assert` with what came instead, and not to be switched off."""
    if not held:
        raise AssertionError(f"came {came!r}")
