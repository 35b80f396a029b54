"""One client of one gateway: a session of Streamable HTTP, and calls in it whose outcome is always told."""

import asyncio
import json
import time
from urllib.parse import urlsplit

import wire

REVISION = "2025-06-18"
# Seconds until a call without an answer counts as unanswered: far beyond any patience of a gateway in these tests.
PATIENCE = 90.0


class Outcome:
    """What came of one request.

    kind: "result", "error" (of JSON-RPC), "tool-error" (a result that says it is one), "refused" (an HTTP status
    without a message), "broken" (the connection ended without an answer), "silent" (nothing within the patience).
    """

    def __init__(self, kind, began, value=None, status=None, n_bytes=0, n_answers=0, ended=None):
        self.kind = kind
        self.began = began
        # When the answer was there; a stream may go on for a while.
        self.ended = ended or time.monotonic()
        self.value = value
        self.status = status
        self.n_bytes = n_bytes
        self.n_answers = n_answers

    @property
    def seconds(self):
        return self.ended - self.began

    @property
    def is_good(self):
        return self.kind == "result"

    @property
    def is_answered(self):
        return self.kind not in ("broken", "silent")

    def __repr__(self):
        return f"{self.kind} {self.status} {str(self.value)[:300]}"


class Client:
    """Not for two calls at once; make two for that."""

    n_made = 0

    def __init__(self, url):
        parts = urlsplit(url)
        self.path = parts.path or "/"
        self.connection = wire.Connection(parts.hostname, parts.port)
        self.session = None
        self.revision = REVISION
        self.n_ids = 0
        Client.n_made += 1
        self.name = f"reliability-{Client.n_made}"

    def close(self):
        self.connection.close()

    def _headers(self):
        headers = {"content-type": "application/json", "accept": "application/json, text/event-stream"}
        if self.session:
            headers["mcp-session-id"] = self.session
            headers["mcp-protocol-version"] = self.revision
        return headers

    async def open(self):
        """Shakes hands. The outcome of `initialize`."""
        self.session = None
        params = {
            "protocolVersion": REVISION,
            "capabilities": {},
            "clientInfo": {"name": self.name, "version": "1"},
        }
        outcome = await self.request("initialize", params)
        if outcome.is_good:
            self.revision = outcome.value.get("protocolVersion", REVISION)
            await self.notify("notifications/initialized")
        return outcome

    async def notify(self, method, params=None):
        message = {"jsonrpc": "2.0", "method": method}
        if params is not None:
            message["params"] = params
        try:
            body = json.dumps(message).encode()
            await asyncio.wait_for(self.connection.ask("POST", self.path, self._headers(), body), PATIENCE)
        except (wire.Broken, asyncio.TimeoutError):
            pass

    async def end(self):
        """Ends the session, as a client that goes should."""
        try:
            ask = self.connection.ask("DELETE", self.path, self._headers())
            await asyncio.wait_for(ask, 10)
        except (wire.Broken, asyncio.TimeoutError):
            pass
        self.close()

    async def call(self, tool, arguments=None, patience=PATIENCE):
        return await self.request("tools/call", {"name": tool, "arguments": arguments or {}}, patience)

    async def request(self, method, params, patience=PATIENCE):
        self.n_ids += 1
        request_id = self.n_ids
        body = json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode()
        began = time.monotonic()
        answers, heard_at = [], []

        def hear(data):
            message = parsed(data)
            if is_answer(message, request_id):
                answers.append(message)
                heard_at.append(time.monotonic())
            return bool(answers)

        try:
            ask = self.connection.ask("POST", self.path, self._headers(), body, hear)
            reply = await asyncio.wait_for(ask, patience)
        except asyncio.TimeoutError:
            return Outcome("silent", began)
        except wire.Broken as why:
            return Outcome("broken", began, str(why))
        self.session = reply.headers.get("mcp-session-id", self.session)
        if not reply.is_stream:
            message = parsed(reply.body)
            if is_answer(message, request_id) or (isinstance(message, dict) and "error" in message):
                answers.append(message)
        return outcome_of(began, reply, answers, heard_at[0] if heard_at else None)


def outcome_of(began, reply, answers, heard_at):
    more = {"status": reply.status, "n_bytes": reply.n_bytes, "n_answers": len(answers), "ended": heard_at}
    if not answers:
        if reply.status >= 400:
            return Outcome("refused", began, reply.body[:300], **more)
        # Longer than what is kept: it did come, whatever it says.
        if reply.n_bytes > wire.KEPT:
            return Outcome("result", began, {}, **more)
        return Outcome("broken", began, "the answer holds no answer", **more)
    answer = answers[0]
    if "error" in answer:
        return Outcome("error", began, answer["error"], **more)
    result = answer.get("result")
    if isinstance(result, dict) and result.get("isError"):
        return Outcome("tool-error", began, result, **more)
    return Outcome("result", began, result, **more)


def parsed(text):
    try:
        return json.loads(text)
    except ValueError:
        return None


def is_answer(message, request_id):
    return isinstance(message, dict) and message.get("id") == request_id and ("result" in message or "error" in message)


def text_of(value):
    """The text of a tool's result; the empty text when there is none."""
    content = (value or {}).get("content") or [{}] if isinstance(value, dict) else [{}]
    return content[0].get("text", "") if isinstance(content[0], dict) else ""


async def tools_of(client, n_pages_max=1000):
    """All exposed names of tools, page by page."""
    names, cursor = [], None
    for _page in range(n_pages_max):
        outcome = await client.request("tools/list", {"cursor": cursor} if cursor else {}, 30)
        if not outcome.is_good:
            return names
        names += [tool.get("name", "") for tool in outcome.value.get("tools", [])]
        cursor = outcome.value.get("nextCursor")
        if not cursor:
            break
    return names
