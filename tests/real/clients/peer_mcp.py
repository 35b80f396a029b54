"""The official Python client, of the 1.x and of the 2.x line."""

import asyncio
import warnings
from contextlib import asynccontextmanager

import mcp
import mcp.types as types
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from peer import Ears, Inbox, Peer, wire
from report import expect

# What 2.x calls deprecated, since a later revision of the protocol has it no more, is what is tried here.
warnings.simplefilter("ignore")


LACKS: set[str] = set()  # features of eras.py


def transport_to(gateway: dict, kind: str):
    if kind == "http":
        return streamable_http_client(gateway["url"])
    if kind == "sse":
        return sse_client(gateway["sse"])
    command, *args = gateway["stdio"]
    return stdio_client(StdioServerParameters(command=command, args=args))


def callbacks(ears: Ears) -> dict:
    """The handlers of a session of either line, which answer with what `ears` has ready."""

    async def on_message(message) -> None:
        ears.told(message)

    async def on_log(params) -> None:
        ears.logs.put(wire(params))

    async def on_sampling(_context, params):
        ears.sampled.put(wire(params))
        return types.CreateMessageResult.model_validate(ears.sample)

    async def on_elicitation(_context, params):
        ears.elicited.put(wire(params))
        return types.ElicitResult.model_validate(ears.elicit)

    async def on_roots(_context):
        ears.n_roots_asked += 1
        return types.ListRootsResult.model_validate({"roots": ears.roots})

    return {
        "message_handler": on_message,
        "logging_callback": on_log,
        "sampling_callback": on_sampling,
        "elicitation_callback": on_elicitation,
        "list_roots_callback": on_roots,
    }


def texts_of(answer: dict) -> tuple[str, bool]:
    text = "\n".join(part["text"] for part in answer["content"] if part["type"] == "text")
    return text, answer.get("isError", False)


class McpPeer(Peer):
    """Both lines; their sessions have the same methods."""

    def __init__(self) -> None:
        super().__init__()
        self.session = None

    @staticmethod
    def public_names() -> set[str]:
        return {name for name in dir(mcp.ClientSession) if not name.startswith("_")}

    async def tools(self) -> list[dict]:
        return wire(await self.session.list_tools())["tools"]

    async def resources(self) -> list[dict]:
        return wire(await self.session.list_resources())["resources"]

    async def templates(self) -> list[dict]:
        return wire(await self.session.list_resource_templates())["resourceTemplates"]

    async def prompts(self) -> list[dict]:
        return wire(await self.session.list_prompts())["prompts"]

    async def call(self, tool: str, arguments: dict, progress=None) -> tuple[str, bool]:
        async def on_progress(done, total, _message) -> None:
            progress(done, total)

        more = {"progress_callback": on_progress} if progress else {}
        return texts_of(wire(await self.session.call_tool(tool, arguments, **more)))

    async def read(self, uri: str) -> list[dict]:
        return wire(await self.session.read_resource(uri))["contents"]

    async def prompt(self, name: str, arguments: dict[str, str]) -> str:
        return wire(await self.session.get_prompt(name, arguments))["messages"][0]["content"]["text"]

    async def complete(self, ref: dict, argument: str, value: str, context: dict | None = None) -> list[str]:
        known = {"ref/prompt": types.PromptReference, "ref/resource": types.ResourceTemplateReference}
        made = known[ref["type"]].model_validate(ref)
        answer = await self.session.complete(made, {"name": argument, "value": value}, context)
        return wire(answer)["completion"]["values"]

    async def set_level(self, level: str) -> None:
        await self.session.set_logging_level(level)

    async def subscribe(self, uri: str) -> None:
        await self.session.subscribe_resource(uri)

    async def unsubscribe(self, uri: str) -> None:
        await self.session.unsubscribe_resource(uri)

    async def tell_that_roots_changed(self) -> None:
        await self.session.send_roots_list_changed()


class FirstLine(McpPeer):
    client = "mcp-1"
    partly = {
        "cancel": "it sends no cancellation when the caller gives up, so the case sends the notification itself, "
        "with the id from the session's private counter",
    }

    def __init__(self) -> None:
        super().__init__()
        self.ids: dict[asyncio.Task, int] = {}

    def start(self, tool: str, arguments: dict, progress) -> asyncio.Task:
        async def call():
            self.ids[task] = self.session._request_id  # taken by the call before it first waits
            return await self.call(tool, arguments, progress)

        task = asyncio.create_task(call())
        return task

    async def take_back(self, call: asyncio.Task) -> None:
        params = types.CancelledNotificationParams(requestId=self.ids[call], reason="enough")
        await self.session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))


class SecondLine(McpPeer):
    client = "mcp-2"
    event_bytes_max = 1024 * 1024

    def revision(self) -> str:
        return self.session.protocol_version


class WithoutHandshake(SecondLine):
    """The level of logs is said with each request, and changes are heard on a stream of their own."""

    level = "warning"

    async def set_level(self, level: str) -> None:
        expect(level == self.level, f"this client was made for {self.level}")

    @asynccontextmanager
    async def listening(self, uri: str = ""):
        changes = Inbox()

        async def hear(events) -> None:
            async for event in events:
                changes.put(getattr(event, "uri", "tools"))

        async with self.session.listen(tools_list_changed=True, resource_subscriptions=[uri] if uri else []) as events:
            hearing = asyncio.create_task(hear(events))
            try:
                yield changes
            finally:
                hearing.cancel()


@asynccontextmanager
async def connected(gateway: dict, kind: str, mode: str = "legacy"):
    """`mode` is how a client of the 2.x line begins: `legacy`, `auto`, or the revision itself."""
    transport = transport_to(gateway, kind)
    if hasattr(mcp, "Client"):
        peer = SecondLine() if mode == "legacy" else WithoutHandshake()
        settings = {"log_level": WithoutHandshake.level} if mode != "legacy" else {}
        made = mcp.Client(transport, mode=mode, read_timeout_seconds=30, **settings, **callbacks(peer.ears))
        async with made as peer.session:
            yield peer
    else:
        peer = FirstLine()
        async with transport as (read, write, *_):
            async with mcp.ClientSession(read, write, **callbacks(peer.ears)) as peer.session:
                await peer.session.initialize()
                yield peer
