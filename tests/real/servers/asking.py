"""A server as people write it with the official Python SDK 2.x: its tools ask, and the SDK finds the words of the era.

    asking.py dual    over stdio, in the era of the first request; the SDK knows no other way to speak 2026-07-28
    asking.py legacy  over stdio, with a handshake only

Not yet part of ../run.sh.
"""

import asyncio
import sys
from typing import Annotated

from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from pydantic import BaseModel

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


@server.resource("asking://fixed")
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
    match sys.argv[1:]:
        case ["dual"]:
            server.run("stdio")
        case ["legacy"]:
            asyncio.run(serve_legacy())
        case _:
            sys.exit(__doc__)
