"""LangChain's MultiServerMCPClient against the gateway.

    langchain_client.py CASE streamable_http|sse|stdio GATEWAY.json
"""

import asyncio
import json
import sys
from pathlib import Path

from langchain_core.messages import ToolCall
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

from report import Report, expect

SERVERS = ("everything", "filesystem", "git", "memory", "time")


def connection_to(gateway: dict, kind: str) -> dict:
    if kind == "stdio":
        command, *args = gateway["stdio"]
        return {"transport": "stdio", "command": command, "args": args}
    return {"transport": kind, "url": gateway["sse"] if kind == "sse" else gateway["url"]}


def text_of(answer: object) -> str:
    """A tool's answer as text: the adapters give a string or a list of content blocks."""
    if isinstance(answer, str):
        return answer
    return "\n".join(block["text"] for block in answer if block["type"] == "text")


class Checks:
    def __init__(self, client: MultiServerMCPClient, gateway: dict) -> None:
        self.client = client
        self.gateway = gateway
        self.tools: dict = {}

    async def gets_the_tools_of_all_servers(self) -> None:
        self.tools = {tool.name: tool for tool in await self.client.get_tools()}
        for server in SERVERS:
            expect(any(name.startswith(f"{server}__") for name in self.tools), list(self.tools))

    async def invokes_a_tool(self) -> None:
        said = text_of(await self.tools["everything__get-sum"].ainvoke({"a": 19, "b": 23}))
        expect("42" in said, said)

    async def invokes_tools_as_an_agent_does(self) -> None:
        calls = [
            ToolCall(type="tool_call", id=f"call-{i}", name="everything__echo", args={"message": f"words {i}"})
            for i in range(5)
        ]
        answers = await asyncio.gather(*(self.tools[call["name"]].ainvoke(call) for call in calls))
        for call, answer in zip(calls, answers, strict=True):
            expect(answer.tool_call_id == call["id"], answer)
            expect(text_of(answer.content) == f"Echo: {call['args']['message']}", answer)

    async def uses_one_session_for_two_servers(self) -> None:
        async with self.client.session("gateway") as session:
            tools = {tool.name: tool for tool in await load_mcp_tools(session)}
            history = text_of(await tools["git__git_log"].ainvoke({"repo_path": self.gateway["repo"]}))
            expect("The only commit" in history, history)
            listed = text_of(await tools["filesystem__list_directory"].ainvoke({"path": self.gateway["files"]}))
            expect("hello.txt" in listed, listed)

    async def gets_a_prompt(self) -> None:
        messages = await self.client.get_prompt("gateway", "everything__args-prompt", arguments={"city": "Ulm"})
        expect("Ulm" in messages[0].content, messages)

    async def gets_a_resource(self) -> None:
        uri = "demo://resource/dynamic/text/7"
        blobs = await self.client.get_resources("gateway", uris=[uri])
        expect("Resource 7" in blobs[0].as_string(), blobs)


async def main(case: str, kind: str, gateway: dict) -> int:
    report = Report(case)
    checks = Checks(MultiServerMCPClient({"gateway": connection_to(gateway, kind)}), gateway)
    await report.check("get_tools", checks.gets_the_tools_of_all_servers())
    await report.check("invoke a tool", checks.invokes_a_tool())
    await report.check("invoke tools as an agent does", checks.invokes_tools_as_an_agent_does())
    await report.check("one session, two servers", checks.uses_one_session_for_two_servers())
    await report.check("get_prompt", checks.gets_a_prompt())
    await report.check("get_resources", checks.gets_a_resource())
    return report.status()


if __name__ == "__main__":
    case, kind, gateway_file = sys.argv[1:]
    sys.exit(asyncio.run(main(case, kind, json.loads(Path(gateway_file).read_text()))))
