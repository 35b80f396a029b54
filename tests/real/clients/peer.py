"""What every Python client can be asked to do, whatever its library calls it, and what it is told meanwhile."""

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from pathlib import Path

from report import expect

WAIT_SECONDS = 10
POLL_SECONDS = 0.02


def wire(model) -> dict:
    """A model of any of the libraries with the names that it has on the wire."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


class Inbox:
    """What arrived, in its order."""

    def __init__(self) -> None:
        self.items: list = []
        self.arrived = asyncio.Event()

    def put(self, item) -> None:
        self.items.append(item)
        self.arrived.set()

    async def until(self, held: Callable[[list], bool]) -> list:
        """Waits until what arrived is as wanted."""

        async def wait() -> None:
            while not held(self.items):
                self.arrived.clear()
                await self.arrived.wait()

        try:
            await asyncio.wait_for(wait(), WAIT_SECONDS)
        except asyncio.TimeoutError:
            raise AssertionError(f"not within {WAIT_SECONDS} s; came {self.items!r}") from None
        return self.items


class Ears:
    """What a client is told and asked outside of its own requests, and what it answers then."""

    def __init__(self) -> None:
        self.logs = Inbox()  # params of notifications/message
        self.updates = Inbox()  # URIs of notifications/resources/updated
        self.changes = Inbox()  # URIs again, and `tools` where that list has changed
        self.progress = Inbox()  # params of notifications/progress, as far as the library shows them
        self.faults = Inbox()  # what the transport complains about
        self.sampled = Inbox()  # params of sampling/createMessage
        self.elicited = Inbox()  # params of elicitation/create
        self.roots: list[dict] = []  # the answer to roots/list
        self.n_roots_asked = 0
        self.sample: dict = {}  # the answer to sampling/createMessage
        self.elicit: dict = {}  # the answer to elicitation/create

    def told(self, message) -> None:
        """A notification, or a fault, as the SDK's message handlers get it."""
        if isinstance(message, Exception):
            self.faults.put(repr(message))
            return
        message = getattr(message, "root", message)  # 1.x wraps it
        method = getattr(message, "method", None)
        if method == "notifications/resources/updated":
            uri = wire(message)["params"]["uri"]
            self.updates.put(uri)
            self.changes.put(uri)
        elif method == "notifications/progress":
            self.progress.put(wire(message)["params"])
        elif method == "notifications/tools/list_changed":
            self.changes.put("tools")


class Peer:
    """A connected client. Texts and dictionaries go in and out; the names are those of the wire.

    `lacks` says what the library does not offer: feature -> (a word that names of its public interface would
    contain if it did, why). `partly` says in what respect a feature is not the whole of it.
    """

    client = ""
    lacks: dict[str, tuple[str, str]] = {}
    partly: dict[str, str] = {}
    lists = {"prompts", "resources", "templates"}  # besides tools
    can_tell_that_roots_changed = True
    hears_all_logs = False  # whether it asks for all of them, whatever level one sets
    event_bytes_max: int | None = None  # the library's own bound on an event over HTTP+SSE, where nobody can change it

    def __init__(self) -> None:
        self.ears = Ears()

    @staticmethod
    def public_names() -> set[str]:
        """Every public name of the library's interface for clients, to hold `lacks` against it."""
        raise NotImplementedError

    def revision(self) -> str:
        """What client and gateway have agreed on."""
        raise NotImplementedError

    async def tools(self) -> list[dict]:
        raise NotImplementedError

    async def resources(self) -> list[dict]:
        raise NotImplementedError

    async def templates(self) -> list[dict]:
        raise NotImplementedError

    async def prompts(self) -> list[dict]:
        raise NotImplementedError

    async def complete(self, ref: dict, argument: str, value: str, context: dict | None = None) -> list[str]:
        raise NotImplementedError

    async def set_level(self, level: str) -> None:
        raise NotImplementedError

    async def subscribe(self, uri: str) -> None:
        raise NotImplementedError

    async def unsubscribe(self, uri: str) -> None:
        raise NotImplementedError

    async def tell_that_roots_changed(self) -> None:
        raise NotImplementedError

    @asynccontextmanager
    async def listening(self, uri: str = ""):
        """While it is entered: what changes of the list of tools and of this resource, as in `Ears.changes`."""
        self.ears.changes = Inbox()
        if uri:
            await self.subscribe(uri)
        yield self.ears.changes
        if uri:
            await self.unsubscribe(uri)

    async def call(self, tool: str, arguments: dict, progress=None) -> tuple[str, bool]:
        """The texts of the answer, and whether it is an error. `progress` is called with (done, total)."""
        raise NotImplementedError

    async def read(self, uri: str) -> list[dict]:
        raise NotImplementedError

    async def prompt(self, name: str, arguments: dict[str, str]) -> str:
        """The text of the first message."""
        raise NotImplementedError

    async def said(self, tool: str, arguments: dict | None = None, progress=None) -> str:
        """The texts of an answer that must not be an error."""
        text, is_error = await self.call(tool, arguments or {}, progress)
        expect(not is_error, text)
        return text

    def start(self, tool: str, arguments: dict, progress) -> asyncio.Task:
        """A call that is to be taken back."""
        return asyncio.create_task(self.call(tool, arguments, progress))

    async def take_back(self, call: asyncio.Task) -> None:
        """Takes it back in the way of the library; most do so when the caller's task is cancelled."""
        call.cancel()


class Wire:
    """What the processes of one server read from their stdin since now: one file a process, one message a line."""

    def __init__(self, folder: str, server: str) -> None:
        self.folder = Path(folder)
        self.server = server
        self.begins = {file: file.stat().st_size for file in self.files()}

    def files(self) -> list[Path]:
        return sorted(self.folder.glob(f"{self.server}.in.*"))

    def records(self) -> list[list[dict]]:
        return [self.messages(file) for file in self.files()]

    def messages(self, file: Path) -> list[dict]:
        with file.open("rb") as lines:
            lines.seek(self.begins.get(file, 0))
            # The last line may not be whole yet.
            return [json.loads(line) for line in lines.read().split(b"\n")[:-1]]

    async def until(self, what: str, found: Callable[[list[dict]], object]) -> object:
        """Waits until a process has read what is wanted: the first true answer of `found` for its messages."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            for messages in self.records():
                if answer := found(messages):
                    return answer
            expect(asyncio.get_running_loop().time() < deadline, f"no process of `{self.server}` with {what}")
            await asyncio.sleep(POLL_SECONDS)
