"""LangChain's adapters, as far as they go: what only the SDK's session below them can do is not theirs."""

import asyncio
import base64
import pkgutil
from contextlib import asynccontextmanager
from importlib import import_module

import langchain_mcp_adapters
from langchain_core.messages import ToolCall
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.prompts import load_mcp_prompt
from langchain_mcp_adapters.resources import load_mcp_resources
from langchain_mcp_adapters.tools import load_mcp_tools

from peer import Ears, Peer, wire
from peer_mcp import callbacks as sdk_callbacks

ONLY_BELOW = "the adapters have no call for it, only the SDK's session below them has"


def connection_to(gateway: dict, kind: str, ears: Ears) -> dict:
    # The adapters' own way to sampling, roots and notifications: arguments for the session that they make.
    of_sdk = sdk_callbacks(ears)
    kept = {name: of_sdk[name] for name in ("message_handler", "sampling_callback", "list_roots_callback")}
    if kind == "stdio":
        command, *args = gateway["stdio"]
        return {"transport": "stdio", "command": command, "args": args, "session_kwargs": kept}
    if kind == "sse":
        return {"transport": "sse", "url": gateway["sse"], "session_kwargs": kept}
    return {"transport": "streamable_http", "url": gateway["url"], "session_kwargs": kept}


class LangChainPeer(Peer):
    client = "langchain-mcp-adapters"
    lists = {"resources"}
    can_tell_that_roots_changed = False
    lacks = {
        "complete": ("complet", ONLY_BELOW),
        "log-level": ("level", "the adapters have no call that sets it, only the SDK's session below them has"),
        "subscription": ("subscri", ONLY_BELOW),
    }
    partly = {
        "list": "tools, and resources by loading all of them; the adapters have no call that lists prompts or templates",
        "cancel": "the adapters end the session of a call whose caller gives up, and by that the gateway knows",
        "roots": "the adapters have no call to tell that the roots changed",
    }

    def __init__(self, gateway: dict, kind: str) -> None:
        super().__init__()
        of_sdk = sdk_callbacks(self.ears)

        async def on_elicitation(mcp_context, params, _context):
            return await of_sdk["elicitation_callback"](mcp_context, params)

        connection = connection_to(gateway, kind, self.ears)
        self.inner = MultiServerMCPClient({"gateway": connection}, callbacks=Callbacks(on_elicitation=on_elicitation))
        self.connection = connection
        self.session = None
        self.loaded: dict = {}

    @staticmethod
    def public_names() -> set[str]:
        package = langchain_mcp_adapters
        names = set(dir(MultiServerMCPClient))
        for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            module = import_module(found.name)
            # What it only imports from elsewhere is not its own.
            names |= {name for name, it in vars(module).items() if getattr(it, "__module__", None) == module.__name__}
        return {name for name in names if not name.startswith("_")}

    async def tools(self) -> list[dict]:
        return [{"name": tool.name} for tool in await load_mcp_tools(self.session)]

    async def resources(self) -> list[dict]:
        return [{"uri": str(blob.metadata["uri"])} for blob in await load_mcp_resources(self.session)]

    async def call(self, tool: str, arguments: dict, progress=None) -> tuple[str, bool]:
        tools = self.loaded
        if progress:
            tools = await self.load(self.session, progress)
        return await self.invoke(tools[tool], arguments)

    async def load(self, session, progress=None) -> dict:
        """The tools by their names; without a session, each call makes its own."""

        async def on_progress(done, total, _message, _context) -> None:
            progress(done, total)

        callbacks = Callbacks(on_progress=on_progress) if progress else None
        tools = await load_mcp_tools(session, connection=self.connection, callbacks=callbacks)
        return {tool.name: tool for tool in tools}

    @staticmethod
    async def invoke(tool, arguments: dict) -> tuple[str, bool]:
        message = await tool.ainvoke(ToolCall(type="tool_call", id="the-id", name=tool.name, args=arguments))
        content = message.content
        if not isinstance(content, str):
            content = "\n".join(block["text"] for block in content if block["type"] == "text")
        return content, message.status == "error"

    def start(self, tool: str, arguments: dict, progress) -> asyncio.Task:
        async def call():
            return await self.invoke((await self.load(None, progress))[tool], arguments)

        return asyncio.create_task(call())

    async def read(self, uri: str) -> list[dict]:
        blobs = await load_mcp_resources(self.session, uris=[uri])
        return [
            {"uri": blob.metadata["uri"], "text": blob.data}
            if isinstance(blob.data, str)
            else {"uri": blob.metadata["uri"], "blob": base64.b64encode(blob.data).decode()}
            for blob in blobs
        ]

    async def prompt(self, name: str, arguments: dict[str, str]) -> str:
        return (await load_mcp_prompt(self.session, name, arguments=arguments))[0].content


@asynccontextmanager
async def connected(gateway: dict, kind: str):
    peer = LangChainPeer(gateway, kind)
    async with peer.inner.session("gateway") as peer.session:
        peer.loaded = await peer.load(peer.session)
        yield peer
