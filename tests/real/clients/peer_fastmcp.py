"""The client of FastMCP."""

from contextlib import asynccontextmanager

import fastmcp
from fastmcp.client.transports import SSETransport, StdioTransport, StreamableHttpTransport
from mcp_types import CreateMessageResult, ElicitResult, PromptReference, ResourceTemplateReference, Root

from peer import Ears, Peer, wire


LACKS = {"list changed", "updated"}  # features of eras.py: its client neither listens nor subscribes


def transport_to(gateway: dict, kind: str):
    if kind == "http":
        return StreamableHttpTransport(gateway["url"])
    if kind == "sse":
        return SSETransport(gateway["sse"])
    command, *args = gateway["stdio"]
    return StdioTransport(command, args, keep_alive=False)


def handlers(ears: Ears) -> dict:
    async def on_message(message) -> None:
        ears.told(message)

    async def on_log(params) -> None:
        ears.logs.put(wire(params))

    async def on_sampling(_messages, params, _context):
        ears.sampled.put(wire(params))
        return CreateMessageResult.model_validate(ears.sample)

    async def on_elicitation(_message, _response_type, params, _context):
        ears.elicited.put(wire(params))
        return ElicitResult.model_validate(ears.elicit)

    async def on_roots(_context) -> list[Root]:
        ears.n_roots_asked += 1
        return [Root.model_validate(root) for root in ears.roots]

    return {
        "message_handler": on_message,
        "log_handler": on_log,
        "sampling_handler": on_sampling,
        "elicitation_handler": on_elicitation,
        "roots": on_roots,
    }


class FastMcpPeer(Peer):
    client = "fastmcp"
    event_bytes_max = 1024 * 1024
    lacks = {"subscription": ("subscribe", "its client has no call to subscribe, only the SDK's session below it has")}

    def __init__(self) -> None:
        super().__init__()
        self.inner: fastmcp.Client | None = None

    @staticmethod
    def public_names() -> set[str]:
        return {name for name in dir(fastmcp.Client) if not name.startswith("_")}

    def revision(self) -> str:
        return self.inner.session.protocol_version

    async def tools(self) -> list[dict]:
        return [wire(tool) for tool in await self.inner.list_tools()]

    async def resources(self) -> list[dict]:
        return [wire(resource) for resource in await self.inner.list_resources()]

    async def templates(self) -> list[dict]:
        return [wire(template) for template in await self.inner.list_resource_templates()]

    async def prompts(self) -> list[dict]:
        return [wire(prompt) for prompt in await self.inner.list_prompts()]

    async def call(self, tool: str, arguments: dict, progress=None) -> tuple[str, bool]:
        async def on_progress(done, total, _message) -> None:
            progress(done, total)

        more = {"progress_handler": on_progress} if progress else {}
        answer = await self.inner.call_tool(tool, arguments, raise_on_error=False, **more)
        return "\n".join(part.text for part in answer.content if part.type == "text"), answer.is_error

    async def read(self, uri: str) -> list[dict]:
        return [wire(contents) for contents in await self.inner.read_resource(uri)]

    async def prompt(self, name: str, arguments: dict[str, str]) -> str:
        return (await self.inner.get_prompt(name, arguments)).messages[0].content.text

    async def complete(self, ref: dict, argument: str, value: str, context: dict | None = None) -> list[str]:
        known = {"ref/prompt": PromptReference, "ref/resource": ResourceTemplateReference}
        made = known[ref["type"]].model_validate(ref)
        return (await self.inner.complete(made, {"name": argument, "value": value}, context)).values

    async def set_level(self, level: str) -> None:
        await self.inner.set_logging_level(level)

    async def tell_that_roots_changed(self) -> None:
        await self.inner.send_roots_list_changed()


class WithoutHandshake(FastMcpPeer):
    hears_all_logs = True

    async def set_level(self, level: str) -> None:
        """It has no call for it, and asks for everything with each request."""


@asynccontextmanager
async def connected(gateway: dict, kind: str, mode: str = "legacy"):
    """`mode` is how it begins: `legacy`, `auto`, or the revision itself."""
    peer = FastMcpPeer() if mode == "legacy" else WithoutHandshake()
    async with fastmcp.Client(transport_to(gateway, kind), mode=mode, timeout=30, **handlers(peer.ears)) as peer.inner:
        yield peer
