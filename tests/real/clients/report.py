"""What a client case says: one line a check, and a status that tells whether all of them held."""

import asyncio
import os
import sys
import traceback

CHECK_SECONDS = 30


class Report:
    def __init__(self, case: str) -> None:
        self.case = case
        self.n_failed = 0

    async def check(self, what: str, made) -> bool:
        """Awaits one check within its time; an exception of any kind is a failure, and the next check goes on."""
        try:
            await asyncio.wait_for(made, CHECK_SECONDS)
        except Exception as error:
            self.failed(what, error)
            return False
        self.passed(what)
        return True

    def passed(self, what: str) -> None:
        print(f"ok   {self.case}: {what}", flush=True)

    def failed(self, what: str, error: Exception) -> None:
        self.n_failed += 1
        reason = str(error).replace("\n", " ")[:600] or type(error).__name__
        print(f"FAIL {self.case}: {what}: {reason}", flush=True)
        traceback.print_exception(error, file=sys.stderr)

    def status(self) -> int:
        return 1 if self.n_failed else 0


class FeatureReport(Report):
    """A report that also tells the table of clients, in the file named by FEATURES_OUT, how each feature went."""

    def __init__(self, case: str, client: str, transport: str) -> None:
        super().__init__(case)
        self.client = client
        self.transport = transport

    async def feature(self, name: str, made, detail: str = "") -> None:
        held = await self.check(name, made)
        self.row(name, "pass" if held else "fail", detail)

    def failed_feature(self, name: str, error: Exception) -> None:
        self.failed(name, error)
        self.row(name, "fail", "")

    def not_offered(self, name: str, why: str) -> None:
        print(f"ok   {self.case}: {name}: not offered by {self.client}: {why}", flush=True)
        self.row(name, "not-offered", why)

    def row(self, name: str, mark: str, detail: str) -> None:
        if "FEATURES_OUT" in os.environ:
            with open(os.environ["FEATURES_OUT"], "a", encoding="utf-8") as out:
                out.write("\t".join((name, self.client, self.transport, mark, detail)) + "\n")


def expect(held: bool, came: object) -> None:
    """`assert` with what came instead, and not to be switched off."""
    if not held:
        raise AssertionError(f"came {came!r}"[:4000])
