"""The fixture with what the suite asks for at 2026-07-28 besides, written once for both eras.

    fixture_2026.py modern       over stdio, in the words of the first request; the suite's gateway speaks 2026-07-28
    fixture_2026.py legacy       over stdio, with a handshake only: what 2026-07-28 names is unknown to it
    fixture_2026.py --http PORT  over Streamable HTTP on the loopback, 0 for a free port: the measure, at 2026-07-28

A tool that asks says its questions under the keys that the suite wants. The modern server gives them to the client with
`input_required`, and goes on when the answers come with the retry. The legacy one asks by requests of its own, all of a
round at once, and waits: it knows nothing of keys, of states and of rounds, which are then the gateway's own.
"""

import json
import sys
from collections.abc import Awaitable, Callable

import anyio
import fixture
import fixture_tasks
import fixture_tasks_2025
import mcp_types as types
from fixture import TOOLS, Content, Context, text, tool
from mcp import MCPError
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.runner import serve_loop
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged

REVISION = "2026-07-28"

Params = types.CallToolRequestParams | types.GetPromptRequestParams
Questions = dict[str, types.InputRequest]

changes = InMemorySubscriptionBus()


def is_modern(ctx: Context) -> bool:
    return ctx.protocol_version >= REVISION


# --- Questions -------------------------------------------------------------------------------------------


class Asked(Exception):
    """A modern request that is answered with questions."""

    def __init__(self, questions: Questions, state: str | None):
        self.result = types.InputRequiredResult(input_requests=questions, request_state=state)


async def ask(ctx: Context, params: Params, questions: Questions, state: str | None = None) -> dict:
    """The answers under the keys of the questions; a question that the client refused has none."""
    if not is_modern(ctx):
        return await asked_now(ctx, questions)
    came = params.input_responses or {}
    if state is not None and params.request_state != state:
        came = {}
    if not questions.keys() <= came.keys():
        raise Asked(questions, state)
    return {key: came[key] for key in questions}


async def asked_now(ctx: Context, questions: Questions) -> dict:
    answers = {}
    refusals = []

    async def one(key: str, question: types.InputRequest) -> None:
        try:
            answers[key] = await sent(ctx, question)
        except MCPError as refused:
            refusals.append(refused)

    async with anyio.create_task_group() as tasks:
        for key, question in questions.items():
            tasks.start_soon(one, key, question)
    if not answers:
        raise refusals[0]
    return answers


async def sent(ctx: Context, question: types.InputRequest):
    match question:
        case types.ElicitRequest(params=form):
            return await ctx.session.elicit_form(
                form.message, form.requested_schema, related_request_id=ctx.request_id
            )
        case types.CreateMessageRequest(params=asked):
            return await ctx.session.create_message(
                asked.messages, max_tokens=asked.max_tokens, related_request_id=ctx.request_id
            )
        case _:
            return await ctx.session.list_roots()


def form(message: str, name: str, kind: str = "string") -> types.ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(said: str) -> types.CreateMessageRequest:
    message = types.SamplingMessage(role="user", content=text(said))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=100))


def content_of(answer, name: str) -> str:
    """One field of a form that was filled in."""
    filled = getattr(answer, "content", None)
    return str(filled.get(name, "?")) if isinstance(filled, dict) else "?"


# --- Tools -----------------------------------------------------------------------------------------------

ASKING: dict[str, Callable[[Context, types.CallToolRequestParams], Awaitable[Content]]] = {}


def asking(name: str, description: str, schema: dict = fixture.NOTHING):
    """A tool that looks at its whole request, and whose protocol errors are the client's."""

    def named(run):
        tool(name, description, schema)(run)
        ASKING[name] = run
        return run

    return named


@asking("test_input_required_result_elicitation", "Greets whom it has asked for a name")
async def greets(ctx: Context, params: types.CallToolRequestParams) -> Content:
    answers = await ask(ctx, params, {"user_name": form("What is your name?", "name")})
    return [text(f"Hello, {content_of(answers['user_name'], 'name')}!")]


@asking("test_input_required_result_sampling", "Asks the client's model for a capital")
async def samples(ctx: Context, params: types.CallToolRequestParams) -> Content:
    answers = await ask(ctx, params, {"capital_question": sample("What is the capital of France?")})
    return [text(f"The model said: {answers['capital_question'].content.text}")]


@asking("test_input_required_result_list_roots", "Asks for the client's folders")
async def lists_roots(ctx: Context, params: types.CallToolRequestParams) -> Content:
    answers = await ask(ctx, params, {"client_roots": types.ListRootsRequest()})
    return [text(f"There are {len(answers['client_roots'].roots)} roots")]


@asking("test_input_required_result_request_state", "Asks for a confirmation, with a state")
async def keeps_state(ctx: Context, params: types.CallToolRequestParams) -> Content:
    await ask(ctx, params, {"confirm": form("Please confirm", "ok", "boolean")}, "confirmed")
    return [text("state-ok: confirmed")]


@asking("test_input_required_result_tampered_state", "Asks for a confirmation, with a state that must come back as it was")
async def guards_state(ctx: Context, params: types.CallToolRequestParams) -> Content:
    await ask(ctx, params, {"confirm": form("Please confirm", "ok", "boolean")}, "guarded")
    return [text("state-ok: guarded")]


@asking("test_input_required_result_multiple_inputs", "Asks three questions at once")
async def asks_three(ctx: Context, params: types.CallToolRequestParams) -> Content:
    questions = {
        "user_name": form("What is your name?", "name"),
        "greeting": sample("Generate a greeting"),
        "client_roots": types.ListRootsRequest(),
    }
    answers = await ask(ctx, params, questions, "all three")
    return [text(f"All inputs received: {len(answers)}")]


@asking("test_input_required_result_multi_round", "Asks twice, the second time with what was said the first time")
async def asks_twice(ctx: Context, params: types.CallToolRequestParams) -> Content:
    first = {"step1": form("Step 1: What is your name?", "name")}
    second = {"step2": form("Step 2: What is your favorite color?", "color")}
    if not is_modern(ctx):
        name = content_of((await ask(ctx, params, first))["step1"], "name")
        color = content_of((await ask(ctx, params, second))["step2"], "color")
        return [text(f"{name} likes {color}.")]
    known = json.loads(params.request_state or "{}")
    came = params.input_responses or {}
    if "name" in known and "step2" in came:
        return [text(f"{known['name']} likes {content_of(came['step2'], 'color')}.")]
    if known and "step1" in came:
        raise Asked(second, json.dumps({"name": content_of(came["step1"], "name")}))
    raise Asked(first, json.dumps({"step": 1}))


@asking("test_input_required_result_capabilities", "Asks only what its client can answer")
async def asks_the_able(ctx: Context, params: types.CallToolRequestParams) -> Content:
    able = ctx.session.client_capabilities
    questions: Questions = {}
    if able is not None and able.sampling is not None:
        questions["sample"] = sample("Say hello")
    if able is not None and able.elicitation is not None:
        questions["ask"] = form("What is your name?", "name")
    answers = await ask(ctx, params, questions, "what can be answered")
    return [text(f"Answered: {', '.join(sorted(answers))}")]


@asking("test_missing_capability", "Cannot do anything without the client's model")
async def needs_sampling(ctx: Context, params: types.CallToolRequestParams) -> Content:
    able = ctx.session.client_capabilities
    if able is None or able.sampling is None:
        required = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "this tool needs `sampling`", required)
    answers = await ask(ctx, params, {"model": sample("Say anything")})
    return [text(f"The model said: {answers['model'].content.text}")]


@asking("test_streaming_elicitation", "Asks while its answer is a stream")
async def streams(ctx: Context, params: types.CallToolRequestParams) -> Content:
    answers = await ask(ctx, params, {"user_name": form("What is your name?", "name")})
    return [text(f"Hello, {content_of(answers['user_name'], 'name')}!")]


@tool("test_logging_tool", "Tells in a log message that it runs")
async def logs(ctx: Context, _arguments: dict) -> Content:
    await ctx.session.send_log_message("info", "This tool logs", related_request_id=ctx.request_id)
    return [text("Logged, if that was wanted")]


async def nothing(_ctx: Context, _arguments: dict) -> Content:
    return [text("dynamic")]


@tool("test_trigger_tool_change", "Lists a tool that was not there, or no more")
async def changes_tools(ctx: Context, _arguments: dict) -> Content:
    if TOOLS.pop("test_dynamic_tool", None) is None:
        tool("test_dynamic_tool", "Is not always there")(nothing)
    if is_modern(ctx):
        await changes.publish(ToolsListChanged())
    else:
        await ctx.session.send_tool_list_changed()
    return [text("The list of tools has changed")]


@tool("test_trigger_prompt_change", "Lists a prompt that was not there, or no more")
async def changes_prompts(ctx: Context, _arguments: dict) -> Content:
    dynamic = types.Prompt(name="test_dynamic_prompt", description="Is not always there")
    if dynamic in fixture.PROMPTS:
        fixture.PROMPTS.remove(dynamic)
    else:
        fixture.PROMPTS.append(dynamic)
    if is_modern(ctx):
        await changes.publish(PromptsListChanged())
    else:
        await ctx.session.send_prompt_list_changed()
    return [text("The list of prompts has changed")]


REGION_SCHEMA = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
}


@tool("test_x_mcp_header", "Has an argument that goes into a header, too", REGION_SCHEMA)
async def has_header(_ctx: Context, arguments: dict) -> Content:
    return [text(f"region={arguments.get('region')}")]


# What only the handshake's revisions can have; a modern server must not list what it cannot do.
LEGACY_TOOLS = [
    "test_sampling",
    "test_elicitation",
    "test_elicitation_sep1034_defaults",
    "test_elicitation_sep1330_enums",
    "test_reconnection",
]


async def call_tool(
    ctx: Context, params: types.CallToolRequestParams
) -> types.CallToolResult | types.InputRequiredResult | dict:
    if is_modern(ctx) and params.name in fixture_tasks.DEEDS:
        return await fixture_tasks.call(ctx, params)
    run = ASKING.get(params.name)
    if run is None:
        return await fixture.call_tool(ctx, params)
    try:
        return types.CallToolResult(content=await run(ctx, params))
    except Asked as asked:
        return asked.result


# --- Prompts ---------------------------------------------------------------------------------------------

ASKING_PROMPT = "test_input_required_result_prompt"
fixture.PROMPTS.append(types.Prompt(name=ASKING_PROMPT, description="Asks for its context"))


async def get_prompt(
    ctx: Context, params: types.GetPromptRequestParams
) -> types.GetPromptResult | types.InputRequiredResult:
    if params.name != ASKING_PROMPT:
        return await fixture.get_prompt(ctx, params)
    try:
        answers = await ask(ctx, params, {"user_context": form("What context should the prompt use?", "context")})
    except Asked as asked:
        return asked.result
    said = f"Use the following context: {content_of(answers['user_context'], 'context')}"
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=text(said))])


# --- Serving ---------------------------------------------------------------------------------------------


def everything(is_modern: bool) -> Server:
    if is_modern:
        for name in LEGACY_TOOLS:
            del TOOLS[name]
    server = Server(
        "conformance-fixture",
        version="1.0.0",
        get_tool_input_schema=lambda name: TOOLS[name].schema if name in TOOLS else None,
        on_list_tools=fixture.list_tools if is_modern else fixture_tasks_2025.list_tools,
        on_call_tool=call_tool,
        on_list_resources=fixture.list_resources,
        on_list_resource_templates=fixture.list_templates,
        on_read_resource=fixture.read_resource,
        on_subscribe_resource=fixture.subscribe,
        on_unsubscribe_resource=fixture.unsubscribe,
        on_list_prompts=fixture.list_prompts,
        on_get_prompt=get_prompt,
        on_completion=fixture.complete,
        on_set_logging_level=fixture.set_level,
        on_subscriptions_listen=ListenHandler(changes),
    )
    # Seals each state that goes out, and opens what comes back.
    server.middleware.append(RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=server.name))
    (fixture_tasks if is_modern else fixture_tasks_2025).add_to(server)
    return server


async def serve_stdio(is_modern: bool) -> None:
    server = everything(is_modern)
    listed = NotificationOptions(prompts_changed=True, tools_changed=True)
    options = server.create_initialization_options(listed)
    async with stdio_server() as (read_stream, write_stream):
        if is_modern:
            await server.run(read_stream, write_stream, options)
        else:
            options.capabilities = fixture_tasks_2025.declared(options.capabilities)
            await serve_loop(server, read_stream, write_stream, lifespan_state={}, init_options=options)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["modern" | "legacy" as era]:
            anyio.run(serve_stdio, era == "modern")
        case ["--http", port]:
            fixture.serve_http(everything(True), int(port))
        case _:
            sys.exit(__doc__)
