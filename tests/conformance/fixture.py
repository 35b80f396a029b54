"""The server that the conformance suite asks for: its tools, resources and prompts, under the names the suite wants.

    fixture.py              over stdio, as a child of the gateway
    fixture.py --http PORT  over Streamable HTTP on the loopback, 0 for a free port; it tells on stderr where. This is
                            what the SDK reaches on its own, and so what the gateway is measured by

What a client sees is the same both ways; only how `test_reconnection` has its client come back differs.
"""

import json
import re
import socket
import sys
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count

import anyio
import mcp_types as types
import uvicorn
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.shared.exceptions import MCPDeprecationWarning

# The suite asks for what 2026-07-28 deprecates: logging and sampling.
warnings.filterwarnings("ignore", category=MCPDeprecationWarning)

STEP_SECONDS = 0.05
# In both versions: `setTimeout(…, 1e4)` around its reading of the stream, and half of that after it came back.
SUITE_LISTENS_SECONDS = 10
RETRY_MILLISECONDS = 500
SHUTDOWN_SECONDS = 2

# The smallest whole files: one red pixel, and a sound of no samples.
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="

NOTHING = {"type": "object", "properties": {}}

JSON_SCHEMA_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

USER_SCHEMA = {
    "type": "object",
    "properties": {
        "username": {"type": "string", "description": "User's response"},
        "email": {"type": "string", "description": "User's email address"},
    },
    "required": ["username", "email"],
}

# A default of every primitive type.
DEFAULTS_SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": True},
    },
    "required": [],
}


def titled(**titles: str) -> list[dict[str, str]]:
    return [{"const": value, "title": title} for value, title in titles.items()]


OPTIONS = ["option1", "option2", "option3"]

# The five ways to say enum.
ENUMS_SCHEMA = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": OPTIONS},
        "titledSingle": {
            "type": "string",
            "oneOf": titled(value1="First Option", value2="Second Option", value3="Third Option"),
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": OPTIONS}},
        "titledMulti": {
            "type": "array",
            "items": {"anyOf": titled(value1="First Choice", value2="Second Choice", value3="Third Choice")},
        },
    },
    "required": [],
}

Context = ServerRequestContext
Content = list[types.ContentBlock]


def text(said: str) -> types.TextContent:
    return types.TextContent(text=said)


def image() -> types.ImageContent:
    return types.ImageContent(data=PNG, mime_type="image/png")


def embedded(uri: str, mime_type: str, said: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(resource=types.TextResourceContents(uri=uri, mime_type=mime_type, text=said))


# --- Tools -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tool:
    description: str
    run: Callable[[Context, dict], Awaitable[Content]]
    schema: dict


TOOLS: dict[str, Tool] = {}


def tool(name: str, description: str, schema: dict = NOTHING):
    def named(run):
        TOOLS[name] = Tool(description, run, schema)
        return run

    return named


def one_text(name: str) -> dict:
    return {"type": "object", "properties": {name: {"type": "string"}}, "required": [name]}


@tool("test_simple_text", "Says one text")
async def simple_text(_ctx: Context, _arguments: dict) -> Content:
    return [text("This is a simple text response for testing.")]


@tool("test_image_content", "Shows an image")
async def image_content(_ctx: Context, _arguments: dict) -> Content:
    return [image()]


@tool("test_audio_content", "Plays a sound")
async def audio_content(_ctx: Context, _arguments: dict) -> Content:
    return [types.AudioContent(data=WAV, mime_type="audio/wav")]


@tool("test_embedded_resource", "Embeds a resource")
async def embedded_resource(_ctx: Context, _arguments: dict) -> Content:
    return [embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]


@tool("test_multiple_content_types", "Gives a text, an image and a resource")
async def multiple_content_types(_ctx: Context, _arguments: dict) -> Content:
    data = json.dumps({"test": "data", "value": 123})
    return [
        text("Multiple content types test:"),
        image(),
        embedded("test://mixed-content-resource", "application/json", data),
    ]


@tool("test_tool_with_logging", "Tells in log messages what it is doing")
async def with_logging(ctx: Context, _arguments: dict) -> Content:
    await ctx.session.send_log_message("info", "Tool execution started", related_request_id=ctx.request_id)
    await anyio.sleep(STEP_SECONDS)
    await ctx.session.send_log_message("info", "Tool processing data", related_request_id=ctx.request_id)
    await anyio.sleep(STEP_SECONDS)
    await ctx.session.send_log_message("info", "Tool execution completed", related_request_id=ctx.request_id)
    return [text("Tool with logging executed successfully")]


class ToolFailed(Exception):
    """What a tool says as an error of its own, in a result."""


@tool("test_error_handling", "Always fails")
async def error_handling(_ctx: Context, _arguments: dict) -> Content:
    raise ToolFailed("This tool intentionally returns an error for testing")


@tool("test_tool_with_progress", "Reports its progress in three steps")
async def with_progress(ctx: Context, _arguments: dict) -> Content:
    await ctx.session.report_progress(0, 100)
    await anyio.sleep(STEP_SECONDS)
    await ctx.session.report_progress(50, 100)
    await anyio.sleep(STEP_SECONDS)
    await ctx.session.report_progress(100, 100)
    return [text("Tool with progress executed successfully")]


@tool("test_sampling", "Asks the client's model", one_text("prompt"))
async def sampling(ctx: Context, arguments: dict) -> Content:
    asked = types.SamplingMessage(role="user", content=text(arguments["prompt"]))
    said = await ctx.session.create_message([asked], max_tokens=100, related_request_id=ctx.request_id)
    return [text(f"LLM response: {said.content.text}")]


async def elicited(ctx: Context, message: str, schema: dict) -> Content:
    said = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return [text(f"Elicitation completed: action={said.action}, content={json.dumps(said.content)}")]


@tool("test_elicitation", "Asks the user for two texts", one_text("message"))
async def elicitation(ctx: Context, arguments: dict) -> Content:
    return await elicited(ctx, arguments["message"], USER_SCHEMA)


@tool("test_elicitation_sep1034_defaults", "Asks the user with defaults of every primitive type")
async def elicitation_defaults(ctx: Context, _arguments: dict) -> Content:
    return await elicited(ctx, "Please review and update the form fields with defaults", DEFAULTS_SCHEMA)


@tool("test_elicitation_sep1330_enums", "Asks the user with the five kinds of enum")
async def elicitation_enums(ctx: Context, _arguments: dict) -> Content:
    return await elicited(ctx, "Please select options from the enum fields", ENUMS_SCHEMA)


@tool("json_schema_2020_12_tool", "Has an input schema with keywords of JSON Schema 2020-12", JSON_SCHEMA_2020_12)
async def json_schema_2020_12(_ctx: Context, arguments: dict) -> Content:
    return [text(f"JSON Schema 2020-12 tool called with: {json.dumps(arguments)}")]


@tool("test_reconnection", "Answers when its client has lost the stream of the call and come back")
async def reconnection(ctx: Context, _arguments: dict) -> Content:
    """Served directly, it closes the stream itself, if the revision knows that. Over stdio there is none to close, so it
    says something, which makes the gateway open one, and then takes longer than the suite listens: the suite hangs up
    and comes back with `Last-Event-ID`, and that is what the gateway has to serve."""
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    elif ctx.request is None:
        # As a warning, because clients that set no level get nothing below.
        await ctx.session.send_log_message("warning", "This takes long", related_request_id=ctx.request_id)
        await anyio.sleep(SUITE_LISTENS_SECONDS)
    await anyio.sleep(10 * STEP_SECONDS)
    return [text("Reconnection test completed successfully")]


async def list_tools(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    return types.ListToolsResult(
        tools=[types.Tool(name=name, description=t.description, input_schema=t.schema) for name, t in TOOLS.items()]
    )


async def call_tool(ctx: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
    known = TOOLS.get(params.name)
    if known is None:
        raise MCPError(types.INVALID_PARAMS, f"there is no tool {params.name!r}")
    try:
        return types.CallToolResult(content=await known.run(ctx, params.arguments or {}))
    except ToolFailed as failed:
        return types.CallToolResult(content=[text(str(failed))], is_error=True)
    except MCPError as refused:
        return types.CallToolResult(content=[text(f"The client refused: {refused.error.message}")], is_error=True)


# --- Resources -------------------------------------------------------------------------------------------

RESOURCES = [
    types.Resource(
        uri="test://static-text", name="static-text", description="A static text", mime_type="text/plain"
    ),
    types.Resource(
        uri="test://static-binary", name="static-binary", description="A static image", mime_type="image/png"
    ),
    types.Resource(
        uri="test://watched-resource",
        name="watched-resource",
        description="A text one can subscribe to",
        mime_type="text/plain",
    ),
]

TEMPLATES = [
    types.ResourceTemplate(
        uri_template="test://template/{id}/data",
        name="template",
        description="Data by its id",
        mime_type="application/json",
    )
]


async def list_resources(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListResourcesResult:
    return types.ListResourcesResult(resources=RESOURCES)


async def list_templates(
    _ctx: Context, _params: types.PaginatedRequestParams | None
) -> types.ListResourceTemplatesResult:
    return types.ListResourceTemplatesResult(resource_templates=TEMPLATES)


def contents_of(uri: str) -> types.TextResourceContents | types.BlobResourceContents:
    if uri == "test://static-binary":
        return types.BlobResourceContents(uri=uri, mime_type="image/png", blob=PNG)
    if uri == "test://static-text":
        said = "This is the content of the static text resource."
        return types.TextResourceContents(uri=uri, mime_type="text/plain", text=said)
    if uri == "test://watched-resource":
        return types.TextResourceContents(uri=uri, mime_type="text/plain", text="This resource never changes.")
    if of_template := re.fullmatch(r"test://template/([^/]+)/data", uri):
        number = of_template[1]
        data = {"id": number, "templateTest": True, "data": f"Data for ID: {number}"}
        return types.TextResourceContents(uri=uri, mime_type="application/json", text=json.dumps(data))
    raise MCPError(types.INVALID_PARAMS, f"there is no resource {uri!r}", {"uri": uri})


async def read_resource(_ctx: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    return types.ReadResourceResult(contents=[contents_of(str(params.uri))])


async def subscribe(_ctx: Context, params: types.SubscribeRequestParams) -> types.EmptyResult:
    contents_of(str(params.uri))
    return types.EmptyResult()


async def unsubscribe(_ctx: Context, params: types.UnsubscribeRequestParams) -> types.EmptyResult:
    contents_of(str(params.uri))
    return types.EmptyResult()


# --- Prompts ---------------------------------------------------------------------------------------------


def needed(name: str, description: str) -> types.PromptArgument:
    return types.PromptArgument(name=name, description=description, required=True)


PROMPTS = [
    types.Prompt(name="test_simple_prompt", description="One message, no arguments"),
    types.Prompt(
        name="test_prompt_with_arguments",
        description="One message with two arguments in it",
        arguments=[needed("arg1", "The first argument"), needed("arg2", "The second argument")],
    ),
    types.Prompt(
        name="test_prompt_with_embedded_resource",
        description="A message that embeds a resource",
        arguments=[needed("resourceUri", "The URI of the resource")],
    ),
    types.Prompt(name="test_prompt_with_image", description="A message with an image"),
]

COMPLETIONS = ["paris", "park", "party"]


async def list_prompts(_ctx: Context, _params: types.PaginatedRequestParams | None) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=PROMPTS)


def contents_of_prompt(name: str, arguments: dict[str, str]) -> Content:
    match name:
        case "test_simple_prompt":
            return [text("This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            return [text(f"Prompt with arguments: arg1='{arguments['arg1']}', arg2='{arguments['arg2']}'")]
        case "test_prompt_with_embedded_resource":
            resource = embedded(arguments["resourceUri"], "text/plain", "Embedded resource content for testing.")
            return [resource, text("Please process the embedded resource above.")]
        case "test_prompt_with_image":
            return [image(), text("Please analyze the image above.")]
    raise MCPError(types.INVALID_PARAMS, f"there is no prompt {name!r}")


async def get_prompt(_ctx: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    try:
        parts = contents_of_prompt(params.name, params.arguments or {})
    except KeyError as absent:
        raise MCPError(types.INVALID_PARAMS, f"the prompt {params.name!r} needs the argument {absent}") from None
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=part) for part in parts])


async def complete(_ctx: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    values = [value for value in COMPLETIONS if value.startswith(params.argument.value)]
    return types.CompleteResult(completion=types.Completion(values=values, total=len(values), has_more=False))


# The level is accepted and no more: which messages a client gets below it is for the gateway to decide, so the fixture
# hides none from it.
async def set_level(_ctx: Context, _params: types.SetLevelRequestParams) -> types.EmptyResult:
    return types.EmptyResult()


# --- Serving ---------------------------------------------------------------------------------------------


class Events(EventStore):
    """All events of a short life, in order, so that a client that comes back gets what it missed on its stream."""

    def __init__(self) -> None:
        self.ids = count(1)
        self.told: dict[str, tuple[str, types.JSONRPCMessage | None]] = {}

    async def store_event(self, stream_id: str, message: types.JSONRPCMessage | None) -> str:
        event_id = str(next(self.ids))
        self.told[event_id] = (stream_id, message)
        return event_id

    async def replay_events_after(self, last_event_id: str, send_callback: EventCallback) -> str | None:
        if last_event_id not in self.told:
            return None
        stream_id, _ = self.told[last_event_id]
        for event_id, (of_stream, message) in list(self.told.items()):
            if of_stream == stream_id and int(event_id) > int(last_event_id) and message is not None:
                await send_callback(EventMessage(message, event_id))
        return stream_id


def everything() -> Server:
    return Server(
        "conformance-fixture",
        version="1.0.0",
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_completion=complete,
        on_set_logging_level=set_level,
    )


async def serve_stdio() -> None:
    server = everything()
    async with stdio_server() as (read_stream, write_stream):
        await server.run(read_stream, write_stream, server.create_initialization_options())


def serve_http(server: Server, port: int) -> None:
    app = server.streamable_http_app(event_store=Events(), retry_interval=RETRY_MILLISECONDS)
    # Listening from here on: whoever reads the line may connect at once.
    listener = socket.create_server(("127.0.0.1", port))
    print(f"listening on http://127.0.0.1:{listener.getsockname()[1]}/mcp", file=sys.stderr, flush=True)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=SHUTDOWN_SECONDS)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            anyio.run(serve_stdio)
        case ["--http", port]:
            serve_http(everything(), int(port))
        case _:
            sys.exit(__doc__)
