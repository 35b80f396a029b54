"""The tools of `fixture_tasks.py` as tasks of 2025-11-25, for a server with a handshake.

The SDK knows the words of these tasks and serves none: here the methods are added, and what makes a task of a call stands
before the SDK's own handling, which takes no other answer to a call than a plain result. Every one of these tools runs as
a task only, which is what a gateway needs to be told to make one.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import fixture
import mcp_types as types
from fixture import NOTHING, TOOLS, Content, Context, Tool, one_text
from fixture_tasks import DEEDS, NAME_SCHEMA, POLL_MILLISECONDS, TTL_MILLISECONDS, WHEN, Job, greet, ids
from mcp import MCPError
from mcp.server.lowlevel import Server

RELATED = "io.modelcontextprotocol/related-task"


@dataclass
class OlderJob(Job):
    # The session that made it, which is asked.
    session: object = None
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def shown(self) -> dict:
        return {
            "taskId": self.id,
            "status": self.status,
            "createdAt": WHEN,
            "lastUpdatedAt": WHEN,
            "ttl": TTL_MILLISECONDS,
            "pollInterval": POLL_MILLISECONDS,
        }

    async def ask(self, *messages: str) -> list[dict]:
        """The answers to forms, all asked at once, each by a request that says to which task it belongs."""
        self.status = "input_required"
        answers = await asyncio.gather(*(self.sent(message) for message in messages))
        self.status = "working"
        return answers

    async def sent(self, message: str) -> dict:
        asked = {"message": message, "requestedSchema": NAME_SCHEMA, "_meta": {RELATED: {"taskId": self.id}}}
        params = types.ElicitRequestFormParams.model_validate(asked)
        answer = await self.session.send_request(types.ElicitRequest(params=params), types.ElicitResult)
        return answer.model_dump(by_alias=True, mode="json", exclude_none=True)

    async def run(self, deed: Callable[[Job, dict], Awaitable[Content]], arguments: dict) -> None:
        await super().run(deed, arguments)
        if self.outcome.get("result", {}).get("isError"):
            self.status = "failed"
        self.over.set()

    def cancel(self) -> None:
        super().cancel()
        self.over.set()


JOBS: dict[str, OlderJob] = {}


async def list_tools(ctx: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    listed = await fixture.list_tools(ctx, params)
    for tool in listed.tools:
        if tool.name in DEEDS:
            tool.execution = types.ToolExecution(task_support="required")
    return listed


async def made_of_calls(ctx: Context, call_next: Callable[[Context], Awaitable[dict]]) -> dict:
    """Answers a call of one of these tools with the task that it becomes."""
    params = ctx.params or {}
    if ctx.method != "tools/call" or params.get("name") not in DEEDS:
        return await call_next(ctx)
    if not isinstance(params.get("task"), dict):
        raise MCPError(types.METHOD_NOT_FOUND, "this tool runs as a task only")
    deed, _ = DEEDS[params["name"]]
    arguments = params.get("arguments") or {}
    if params["name"] == "test_tool_with_task":
        # Before there is a task.
        answer = await ctx.session.elicit_form(
            "What is your name?", NAME_SCHEMA, related_request_id=ctx.request_id
        )
        arguments = {"name": (answer.content or {}).get("name", "?")}
    job = OlderJob(f"task-{next(ids)}", session=ctx.session)
    JOBS[job.id] = job
    made = job.shown()
    job.work = asyncio.create_task(job.run(deed, arguments))
    return {"task": made}


# --- Methods ---------------------------------------------------------------------------------------------


class TaskParams(types.RequestParams):
    task_id: str


def known(params: TaskParams) -> OlderJob:
    job = JOBS.get(params.task_id)
    if job is None:
        raise MCPError(types.INVALID_PARAMS, "Failed to retrieve task: Task not found")
    return job


async def get(_ctx: Context, params: TaskParams) -> dict:
    return known(params).shown()


async def result(_ctx: Context, params: TaskParams) -> dict:
    job = known(params)
    await job.over.wait()
    if error := job.outcome.get("error"):
        raise MCPError(error["code"], error["message"])
    if (came := job.outcome.get("result")) is None:
        raise MCPError(types.INTERNAL_ERROR, "the task was cancelled")
    return {**came, "_meta": {RELATED: {"taskId": job.id}}}


async def list_tasks(_ctx: Context, _params: types.PaginatedRequestParams) -> dict:
    return {"tasks": [job.shown() for job in JOBS.values()]}


async def cancel(_ctx: Context, params: TaskParams) -> dict:
    job = known(params)
    if job.over.is_set():
        raise MCPError(types.INVALID_PARAMS, f"Cannot cancel task: already in terminal status '{job.status}'")
    job.cancel()
    return job.shown()


def add_to(server: Server) -> None:
    TOOLS["greet"] = Tool("Greets, and is never a task", greet, one_text("name"))
    for name in DEEDS:
        TOOLS[name] = Tool("Runs as a task", greet, NOTHING)
    for method, params, handler in [
        ("tasks/get", TaskParams, get),
        ("tasks/result", TaskParams, result),
        ("tasks/list", types.PaginatedRequestParams, list_tasks),
        ("tasks/cancel", TaskParams, cancel),
    ]:
        server.add_request_handler(method, params, handler)
    server.middleware.append(made_of_calls)


def declared(capabilities: types.ServerCapabilities) -> types.ServerCapabilities:
    requests = types.ServerTasksRequestsCapability(tools=types.TasksToolsCapability(call=types.TasksCallCapability()))
    tasks = types.ServerTasksCapability(
        list=types.TasksListCapability(), cancel=types.TasksCancelCapability(), requests=requests
    )
    return capabilities.model_copy(update={"tasks": tasks})
