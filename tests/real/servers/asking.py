"""A server as people write it with the official Python SDK 2.x: its tools ask, and the SDK finds the words of the era.

    asking.py dual NAME    over stdio, in the era of the first request; the SDK knows no other way to speak 2026-07-28
    asking.py legacy NAME  over stdio, with a handshake only
"""

import asyncio
import sys
from typing import Annotated

from mcp.server.mcpserver import Context, Elicit, ListRoots, MCPServer, Resolve, Sample
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from mcp.types import CreateMessageResult, ListRootsResult, SamplingMessage, TextContent
from pydantic import BaseModel

WAIT_SECONDS = 60

era, name = sys.argv[1:]
server = MCPServer(name="asking", version="1.0.0", instructions="Asks before it answers.")


class Name(BaseModel):
    name: str


class Color(BaseModel):
    color: str


async def ask_name() -> Elicit[Name]:
    return Elicit("What is your name?", Name)


async def ask_color(name: Annotated[Name, Resolve(ask_name)]) -> Elicit[Color]:
    return Elicit(f"{name.name}, what is your favourite color?", Color)


@server.tool()
async def greet(name: Annotated[Name, Resolve(ask_name)]) -> str:
    """Greets whom it has asked for a name: one question."""
    return f"Hello, {name.name}!"


@server.tool()
async def paint(name: Annotated[Name, Resolve(ask_name)], color: Annotated[Color, Resolve(ask_color)]) -> str:
    """Asks for a name, and then with it for a color: two rounds."""
    return f"{name.name} likes {color.color}."


async def ask_model() -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(type="text", text="A thought?"))], max_tokens=77)


@server.tool()
async def ponder(thought: Annotated[CreateMessageResult, Resolve(ask_model)]) -> str:
    """Says what the client's model has answered."""
    return f"{thought.model} thinks: {thought.content.text}"


async def ask_roots() -> ListRoots:
    return ListRoots()


@server.tool()
async def where(roots: Annotated[ListRootsResult, Resolve(ask_roots)]) -> str:
    """Says the client's folders."""
    return " ".join(str(root.uri) for root in roots.roots)


@server.tool()
async def echo(text: str) -> str:
    """Says it again."""
    return text


@server.tool()
async def steps(n: int, ctx: Context) -> str:
    """Reports its progress in so many steps."""
    for step in range(n):
        await ctx.report_progress(step + 1, n)
    return f"{n} steps"


@server.tool()
async def grow(name: str, ctx: Context) -> str:
    """Lists one more tool, and tells who listens."""
    server.add_tool(lambda: "grown", name=name, description="Was not there before")
    await ctx.notify_tools_changed()
    return f"{name} is there"


taken_back: set[str] = set()


@server.tool()
async def wait(tag: str, ctx: Context) -> str:
    """Says that it has begun, and waits until it is taken back."""
    await ctx.report_progress(1, 2)
    try:
        await asyncio.sleep(WAIT_SECONDS)
    except asyncio.CancelledError:
        taken_back.add(tag)
        raise
    return "nobody took it back"


@server.tool()
async def was_taken_back(tag: str) -> str:
    """Whether the call of `wait` with this tag was."""
    return str(tag in taken_back)


@server.tool()
async def say(text: str, ctx: Context) -> str:
    """Logs the text twice, at `debug` and at `warning`."""
    await ctx.debug(f"{text} quietly")
    await ctx.warning(f"{text} aloud")
    return "said"


@server.tool()
async def touch(uri: str, ctx: Context) -> str:
    """Tells who listens that a resource has changed."""
    await ctx.notify_resource_updated(uri)
    return f"{uri} has changed"


@server.resource(f"asking-{name}://fixed")
def fixed() -> str:
    """A text that stays."""
    return "It stays."


@server.prompt()
def plain(topic: str) -> str:
    """A prompt with an argument."""
    return f"Tell me of {topic}."


async def serve_legacy() -> None:
    # There is no public way to leave an era out.
    lowlevel = server._lowlevel_server
    async with stdio_server() as (read_stream, write_stream), lowlevel.lifespan(lowlevel) as state:
        options = lowlevel.create_initialization_options()
        await serve_loop(lowlevel, read_stream, write_stream, lifespan_state=state, init_options=options)


if __name__ == "__main__":
    match era:
        case "dual":
            server.run("stdio")
        case "legacy":
            asyncio.run(serve_legacy())
        case _:
            sys.exit(__doc__)
