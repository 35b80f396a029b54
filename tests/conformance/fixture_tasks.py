"""What the suite asks for of the extension `io.modelcontextprotocol/tasks`: its tools, and the tasks they become.

Only of the modern server; those of 2025-11-25 are in `fixture_tasks_2025.py`. A tool decides by itself that it
is a task, for whoever declares the extension; without it `failing_job` and `test_tool_with_task` are refused, and the
others run as plain calls.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

import mcp_types as types
from fixture import NOTHING, TOOLS, Content, Context, Tool, ToolFailed, one_text, text
from mcp import MCPError
from mcp.server.lowlevel import Server

EXTENSION = "io.modelcontextprotocol/tasks"
WHEN = "2026-07-28T10:30:00Z"
TTL_MILLISECONDS = 600_000
POLL_MILLISECONDS = 100
HEADER_MISMATCH = -32020

NAME_SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}, "confirm": {"type": "boolean"}}}


@dataclass
class Job:
    id: str
    status: str = "working"
    # The member `result` or `error`, once it is over.
    outcome: dict = field(default_factory=dict)
    asked: dict[str, dict] = field(default_factory=dict)
    answers: dict[str, dict] = field(default_factory=dict)
    answered: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task | None = None

    def shown(self) -> dict:
        shown = {
            "taskId": self.id,
            "status": self.status,
            "createdAt": WHEN,
            "lastUpdatedAt": WHEN,
            "ttlMs": TTL_MILLISECONDS,
            "pollIntervalMs": POLL_MILLISECONDS,
        }
        if self.asked:
            shown["inputRequests"] = self.asked
        return shown | self.outcome

    async def ask(self, *messages: str) -> list[dict]:
        """The answers to forms, all asked at once; no key is used twice in a task."""
        keys = [f"q{len(self.answers) + n}" for n in range(len(messages))]
        for key, message in zip(keys, messages, strict=True):
            params = {"mode": "form", "message": message, "requestedSchema": NAME_SCHEMA}
            self.asked[key] = {"method": "elicitation/create", "params": params}
        self.status = "input_required"
        self.answered.clear()
        await self.answered.wait()
        return [self.answers[key] for key in keys]

    def take(self, answers: dict[str, dict]) -> None:
        for key in self.asked.keys() & answers.keys():
            self.answers[key] = answers[key]
            del self.asked[key]
        if self.status == "input_required" and not self.asked:
            self.status = "working"
            self.answered.set()

    async def run(self, deed: Callable[["Job", dict], Awaitable[Content]], arguments: dict) -> None:
        try:
            self.outcome = {"result": result_of(await deed(self, arguments))}
            self.status = "completed"
        except ToolFailed as failed:
            self.outcome = {"result": result_of([text(str(failed))], is_error=True)}
            self.status = "completed"
        except MCPError as failed:
            self.outcome = {"error": {"code": failed.error.code, "message": failed.error.message}}
            self.status = "failed"

    def cancel(self) -> None:
        if not self.outcome and self.status != "cancelled":
            self.status = "cancelled"
            self.asked.clear()
            if self.work is not None:
                self.work.cancel()


JOBS: dict[str, Job] = {}
ids = count(1)


def result_of(content: Content, is_error: bool = False) -> dict:
    blocks = [block.model_dump(by_alias=True, mode="json", exclude_none=True) for block in content]
    return {"content": blocks, "isError": is_error}


# --- Tools -----------------------------------------------------------------------------------------------


async def slow_compute(_job: Job, arguments: dict) -> Content:
    await asyncio.sleep(arguments.get("seconds", 0))
    return [text(f"computed {arguments.get('label', '')}")]


async def failing_job(_job: Job, _arguments: dict) -> Content:
    await asyncio.sleep(0.2)
    raise ToolFailed("This job always fails")


async def protocol_error_job(_job: Job, _arguments: dict) -> Content:
    raise MCPError(types.INTERNAL_ERROR, "This job breaks the protocol")


async def confirm_delete(job: Job, arguments: dict) -> Content:
    [answer] = await job.ask(f"Delete {arguments.get('filename')}?")
    return [text(f"{answer.get('action')}: {arguments.get('filename')}")]


async def multi_input(job: Job, _arguments: dict) -> Content:
    answers = await job.ask("The first name?", "The second name?")
    return [text(f"{len(answers)} answers")]


async def greeting(_job: Job, arguments: dict) -> Content:
    return [text(f"Hello, {arguments['name']}!")]


# Tool → what it does as a task, and whether it can be nothing else.
DEEDS = {
    "slow_compute": (slow_compute, False),
    "failing_job": (failing_job, True),
    "protocol_error_job": (protocol_error_job, False),
    "confirm_delete": (confirm_delete, False),
    "multi_input": (multi_input, False),
    "test_tool_with_task": (greeting, True),
}


async def greet(_ctx: Context, arguments: dict) -> Content:
    return [text(f"Hello, {arguments['name']}!")]


def declares(ctx: Context) -> bool:
    able = ctx.session.client_capabilities
    return able is not None and EXTENSION in (able.extensions or {})


def required() -> MCPError:
    data = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
    return MCPError(types.MISSING_REQUIRED_CLIENT_CAPABILITY, "this needs the extension for tasks", data)


async def call(ctx: Context, params: types.CallToolRequestParams) -> dict:
    """The result of one of these tools: of the task that it has become, or of a plain call."""
    deed, is_required = DEEDS[params.name]
    arguments = params.arguments or {}
    if not declares(ctx):
        if is_required:
            raise required()
        try:
            result = result_of(await deed(Job("none"), arguments))
        except ToolFailed as failed:
            result = result_of([text(str(failed))], is_error=True)
        return {"resultType": "complete", **result}
    if params.name == "test_tool_with_task":
        answer = (params.input_responses or {}).get("user_name")
        if answer is None:
            asked = {"mode": "form", "message": "What is your name?", "requestedSchema": NAME_SCHEMA}
            question = {"method": "elicitation/create", "params": asked}
            return {"resultType": "input_required", "inputRequests": {"user_name": question}}
        arguments = {"name": (answer.content or {}).get("name", "?")}
    job = Job(f"task-{next(ids)}")
    JOBS[job.id] = job
    job.work = asyncio.create_task(job.run(deed, arguments))
    return {"resultType": "task", **Job(job.id).shown()}


# --- Methods ---------------------------------------------------------------------------------------------


class TaskParams(types.RequestParams):
    task_id: str
    input_responses: dict | None = None


def known(ctx: Context, params: TaskParams) -> Job:
    if not declares(ctx):
        raise required()
    # The SDK looks at the headers of its own methods only.
    named = ctx.request.headers.get("mcp-name") if ctx.request is not None else params.task_id
    if named != params.task_id:
        raise MCPError(HEADER_MISMATCH, "the header `Mcp-Name` names another task")
    job = JOBS.get(params.task_id)
    if job is None:
        raise MCPError(types.INVALID_PARAMS, "Failed to retrieve task: Task not found")
    return job


async def get(ctx: Context, params: TaskParams) -> dict:
    return {"resultType": "complete", **known(ctx, params).shown()}


async def update(ctx: Context, params: TaskParams) -> dict:
    known(ctx, params).take(params.input_responses or {})
    return {"resultType": "complete"}


async def cancel(ctx: Context, params: TaskParams) -> dict:
    known(ctx, params).cancel()
    return {"resultType": "complete"}


def add_to(server: Server) -> None:
    TOOLS["greet"] = Tool("Greets, and is never a task", greet, one_text("name"))
    for name in DEEDS:
        TOOLS[name] = Tool("May become a task", greet, NOTHING)
    server.extensions[EXTENSION] = {}
    for method, handler in [("tasks/get", get), ("tasks/update", update), ("tasks/cancel", cancel)]:
        server.add_request_handler(method, TaskParams, handler)
