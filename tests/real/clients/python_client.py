"""The official Python client, of the 1.x or the 2.x line, against the gateway with its five real servers.

    python_client.py CASE http|sse|stdio GATEWAY.json [legacy|auto]

The last word is how a 2.x client negotiates; a 1.x client only knows the handshake.
"""

import asyncio
import json
import sys
import warnings
from contextlib import asynccontextmanager
from pathlib import Path

import mcp
from mcp.client.sse import sse_client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import PromptReference

from report import Report, expect

IS_SECOND_LINE = hasattr(mcp, "Client")
PROTOCOL_ERROR = mcp.MCPError if IS_SECOND_LINE else mcp.McpError
INVALID_PARAMS = -32602
SERVERS = ("everything", "filesystem", "git", "memory", "time")
N_PARALLEL = 20


def transport_to(gateway: dict, kind: str):
    if kind == "http":
        return streamable_http_client(gateway["url"])
    if kind == "sse":
        return sse_client(gateway["sse"])
    command, *args = gateway["stdio"]
    return stdio_client(StdioServerParameters(command=command, args=args))


@asynccontextmanager
async def connected(gateway: dict, kind: str, mode: str):
    """A client after its handshake, and the name the server gave itself. Both lines have the same methods from here on."""
    transport = transport_to(gateway, kind)
    if IS_SECOND_LINE:
        async with mcp.Client(transport, mode=mode, read_timeout_seconds=30) as client:
            yield client, client.server_info.name
    else:
        async with transport as (read, write, *_), mcp.ClientSession(read, write) as session:
            told = await session.initialize()
            yield session, told.serverInfo.name


def wire(answer) -> dict:
    """An answer with the names it has on the wire, the same for both lines."""
    return answer.model_dump(by_alias=True, mode="json", exclude_none=True)


class Checks:
    def __init__(self, client, case: str, gateway: dict) -> None:
        self.client = client
        self.case = case
        self.gateway = gateway

    async def call(self, tool: str, arguments: dict | None = None, **more) -> str:
        """The text of a tool's answer, which must not be an error."""
        answer = wire(await self.client.call_tool(tool, arguments or {}, **more))
        expect(not answer.get("isError", False), answer)
        return "\n".join(part["text"] for part in answer["content"] if part["type"] == "text")

    async def lists_the_tools_of_all_servers(self) -> None:
        names = [tool["name"] for tool in wire(await self.client.list_tools())["tools"]]
        for server in SERVERS:
            expect(any(name.startswith(f"{server}__") for name in names), names)
        expect(len(names) == len(set(names)), names)

    async def calls_everything(self) -> None:
        said = await self.call("everything__echo", {"message": "grüße 🦀"})
        expect(said == "Echo: grüße 🦀", said)

    async def calls_everything_for_an_image(self) -> None:
        answer = wire(await self.client.call_tool("everything__get-tiny-image", {}))
        images = [part for part in answer["content"] if part["type"] == "image"]
        expect(len(images) == 1 and images[0]["mimeType"] == "image/png" and len(images[0]["data"]) > 1000, answer)

    async def calls_everything_for_structured_content(self) -> None:
        answer = wire(await self.client.call_tool("everything__get-structured-content", {"location": "Chicago"}))
        expect(set(answer["structuredContent"]) == {"temperature", "conditions", "humidity"}, answer)

    async def calls_filesystem(self) -> None:
        folder = Path(self.gateway["files"])
        listed = await self.call("filesystem__list_directory", {"path": str(folder)})
        expect("[FILE] hello.txt" in listed, listed)
        for name in ("hello.txt", "long.txt"):
            read = await self.call("filesystem__read_text_file", {"path": str(folder / name)})
            expect(read == (folder / name).read_text(), read[:200])

    async def calls_memory(self) -> None:
        entity = {"name": f"of {self.case}", "entityType": "case", "observations": ["was here"]}
        await self.call("memory__create_entities", {"entities": [entity]})
        graph = json.loads(await self.call("memory__read_graph"))
        expect(entity["name"] in [known["name"] for known in graph["entities"]], graph)

    async def calls_time(self) -> None:
        now = json.loads(await self.call("time__get_current_time", {"timezone": "Europe/Berlin"}))
        expect(now["timezone"] == "Europe/Berlin" and "T" in now["datetime"], now)

    async def calls_git(self) -> None:
        repo = {"repo_path": self.gateway["repo"]}
        state = await self.call("git__git_status", repo)
        expect("nothing to commit" in state, state)
        history = await self.call("git__git_log", repo)
        expect("The only commit" in history, history)

    async def sees_a_tool_that_fails(self) -> None:
        answer = wire(await self.client.call_tool("filesystem__read_text_file", {"path": "/etc/passwd"}))
        expect(answer["isError"] is True and "denied" in answer["content"][0]["text"], answer)

    async def reads_a_resource(self) -> None:
        listed = wire(await self.client.list_resources())["resources"]
        uris = [resource["uri"] for resource in listed]
        features = next((uri for uri in uris if uri.endswith("/features.md")), None)
        expect(features is not None and "memory://knowledge-graph" in uris, uris)
        contents = wire(await self.client.read_resource(features))["contents"]
        expect(contents[0]["uri"] == features and len(contents[0]["text"]) > 100, contents)

    async def reads_a_resource_of_a_template(self) -> None:
        templates = wire(await self.client.list_resource_templates())["resourceTemplates"]
        expect("demo://resource/dynamic/text/{resourceId}" in [t["uriTemplate"] for t in templates], templates)
        contents = wire(await self.client.read_resource("demo://resource/dynamic/text/7"))["contents"]
        expect("Resource 7" in contents[0]["text"], contents)

    async def gets_a_prompt(self) -> None:
        prompts = [prompt["name"] for prompt in wire(await self.client.list_prompts())["prompts"]]
        expect("everything__args-prompt" in prompts, prompts)
        answer = wire(await self.client.get_prompt("everything__args-prompt", {"city": "Ulm"}))
        expect("Ulm" in answer["messages"][0]["content"]["text"], answer)

    async def completes_an_argument(self) -> None:
        prompt = PromptReference(type="ref/prompt", name="everything__completable-prompt")
        departments = wire(await self.client.complete(prompt, {"name": "department", "value": "S"}))
        expect(departments["completion"]["values"] == ["Sales", "Support"], departments)
        people = wire(await self.client.complete(prompt, {"name": "name", "value": ""}, {"department": "Sales"}))
        expect(people["completion"]["values"] == ["David", "Eve", "Frank"], people)

    async def pings(self) -> None:
        with warnings.catch_warnings(action="ignore"):
            await self.client.send_ping()

    async def speaks_the_newest_revision(self) -> None:
        """Which has no ping: the gateway says so, and the client has found out by itself what to speak."""
        with warnings.catch_warnings(action="ignore"):
            try:
                await self.client.send_ping()
            except Exception as error:
                expect("Method not found: ping" in str(error), error)
            else:
                raise AssertionError("a ping was answered: this is a session with a handshake")

    async def makes_parallel_calls(self) -> None:
        async def one(i: int) -> None:
            said = await self.call("everything__echo", {"message": f"{self.case} {i}"})
            expect(said == f"Echo: {self.case} {i}", said)

        await asyncio.gather(*(one(i) for i in range(N_PARALLEL)))

    async def sees_the_progress_of_two_calls_apart(self) -> None:
        async def one(n_steps: int) -> None:
            seen: list[tuple[float, float | None]] = []
            all_seen = asyncio.Event()

            async def progress(done: float, total: float | None, _message: str | None) -> None:
                seen.append((done, total))
                if len(seen) == n_steps:
                    all_seen.set()

            await self.call(
                "everything__trigger-long-running-operation",
                {"duration": 0.6, "steps": n_steps},
                progress_callback=progress,
            )
            await asyncio.wait_for(all_seen.wait(), 5)
            expect(sorted(seen) == [(i, n_steps) for i in range(1, n_steps + 1)], seen)

        await asyncio.gather(one(3), one(4))

    async def gets_an_error_for(self, tool: str) -> None:
        try:
            answer = await self.client.call_tool(tool, {})
        except PROTOCOL_ERROR as refused:
            expect(refused.error.code == INVALID_PARAMS, refused.error)
            expect(tool in refused.error.message, refused.error)
        else:
            expect(False, answer)


async def main(case: str, kind: str, gateway: dict, mode: str) -> int:
    report = Report(case)
    async with connected(gateway, kind, mode) as (client, server_name):
        checks = Checks(client, case, gateway)

        async def is_the_gateway() -> None:
            expect(server_name == "mcp-wrapper", server_name)

        await report.check("initialize", is_the_gateway())
        await report.check("the tools of all five servers", checks.lists_the_tools_of_all_servers())
        await report.check("call everything", checks.calls_everything())
        await report.check("call everything for an image", checks.calls_everything_for_an_image())
        await report.check("structured content", checks.calls_everything_for_structured_content())
        await report.check("call filesystem", checks.calls_filesystem())
        await report.check("call memory", checks.calls_memory())
        await report.check("call time", checks.calls_time())
        await report.check("call git", checks.calls_git())
        await report.check("a tool that fails says so", checks.sees_a_tool_that_fails())
        await report.check("read a resource", checks.reads_a_resource())
        await report.check("read a resource of a template", checks.reads_a_resource_of_a_template())
        await report.check("get a prompt", checks.gets_a_prompt())
        await report.check("complete an argument", checks.completes_an_argument())
        if mode == "auto":
            await report.check("the revision without a handshake is found", checks.speaks_the_newest_revision())
        else:
            await report.check("ping", checks.pings())
        await report.check(f"{N_PARALLEL} calls at once", checks.makes_parallel_calls())
        await report.check("progress of two calls at once", checks.sees_the_progress_of_two_calls_apart())
        await report.check("unknown tool", checks.gets_an_error_for("everything__nothing_of_that_name"))
        await report.check("unknown server", checks.gets_an_error_for("nobody__echo"))
    return report.status()


if __name__ == "__main__":
    case, kind, gateway_file, *rest = sys.argv[1:]
    sys.exit(asyncio.run(main(case, kind, json.loads(Path(gateway_file).read_text()), rest[0] if rest else "legacy")))
