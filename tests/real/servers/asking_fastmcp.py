"""A server as people write it with FastMCP 4, over stdio, in the era of the first request.

    asking_fastmcp.py results NAME    its tools ask in their results
    asking_fastmcp.py calls NAME      its tools ask by the older calls, which the library has with a handshake only
"""

import asyncio
import sys
from dataclasses import make_dataclass

from fastmcp import Context, FastMCP
from mcp_types import ElicitRequest, ElicitRequestFormParams, InputRequiredResult

WAIT_SECONDS = 60
FORMS = {key: make_dataclass(key.title(), [(key, str)]) for key in ("name", "color")}

how, name = sys.argv[1:]
server = FastMCP("asking", version="4.0.0")
taken_back: set[str] = set()


async def answer(ctx: Context, key: str, message: str, state: str | None = None):
    """What the client answers to this question, or the result that asks it."""
    if how == "calls":
        return getattr((await ctx.elicit(message, response_type=FORMS[key])).data, key)
    came = (ctx.input_responses or {}).get(key)
    if came is not None:
        return came.content[key]
    schema = {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]}
    asked = ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))
    return InputRequiredResult(input_requests={key: asked}, request_state=state)


@server.tool
async def echo(text: str) -> str:
    """Says it again."""
    return text


@server.tool
async def greet(ctx: Context) -> str:
    """Greets whom it has asked for a name: one question."""
    came = await answer(ctx, "name", "What is your name?")
    return f"Hello, {came}!" if isinstance(came, str) else came


@server.tool
async def paint(ctx: Context) -> str:
    """Asks for a name, and then with it for a color: two rounds."""
    first = ctx.request_state if how == "results" else None
    if first is None:
        first = await answer(ctx, "name", "What is your name?")
        if not isinstance(first, str):
            return first
    came = await answer(ctx, "color", f"{first}, what is your favourite color?", first)
    return f"{first} likes {came}." if isinstance(came, str) else came


@server.tool
async def steps(n: int, ctx: Context) -> str:
    """Reports its progress in so many steps."""
    for step in range(n):
        await ctx.report_progress(step + 1, n)
    return f"{n} steps"


@server.tool
async def wait(tag: str, ctx: Context) -> str:
    """Says that it has begun, and waits until it is taken back."""
    await ctx.report_progress(1, 2)
    try:
        await asyncio.sleep(WAIT_SECONDS)
    except asyncio.CancelledError:
        taken_back.add(tag)
        raise
    return "nobody took it back"


@server.tool
async def was_taken_back(tag: str) -> str:
    """Whether the call of `wait` with this tag was."""
    return str(tag in taken_back)


@server.tool
async def say(text: str, ctx: Context) -> str:
    """Logs the text twice, at `debug` and at `warning`."""
    await ctx.debug(f"{text} quietly")
    await ctx.warning(f"{text} aloud")
    return "said"


@server.resource(f"asking-{name}://fixed")
def fixed() -> str:
    """A text that stays."""
    return "It stays."


@server.prompt
def plain(topic: str) -> str:
    """A prompt with an argument."""
    return f"Tell me of {topic}."


if __name__ == "__main__":
    server.run(transport="stdio", show_banner=False)
