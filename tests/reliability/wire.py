"""HTTP/1.1 over a raw socket, as little of it as a client of Streamable HTTP needs.

One connection carries one request at a time and is kept for the next. Bodies are read to their end whatever their
length, so that the end is really seen, but only the first `KEPT` bytes of them are kept.
"""

import asyncio

# Bytes of a body, or of one event of a stream, that are kept; what is longer is counted and dropped.
KEPT = 1 << 20
# Seconds that a stream may go on after its listener has heard enough: it usually ends with the answer.
AFTER_ENOUGH = 1.0
# Bytes of one head.
HEAD_MAX = 64 << 10


class Broken(Exception):
    """The connection ended, or what came is no HTTP: there is no answer."""


class Reply:
    """Status, headers (names in small letters) and, for an answer that is no stream, the beginning of the body."""

    def __init__(self, status, headers):
        self.status = status
        self.headers = headers
        self.body = b""
        # Bytes of the whole body, kept or not.
        self.n_bytes = 0

    @property
    def is_stream(self):
        return self.headers.get("content-type", "").startswith("text/event-stream")


class Connection:
    """Opens itself for the first request, and again after it was closed by either side."""

    def __init__(self, host, port):
        self.host = host
        self.port = port
        self.reader = None
        self.writer = None

    async def open(self):
        try:
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port, limit=4 << 20)
        except OSError as why:
            raise Broken(f"not connected: {why}") from None

    def close(self):
        if self.writer is not None:
            self.writer.transport.abort()
        self.reader = self.writer = None

    async def ask(self, method, path, headers, body=b"", on_event=None):
        """Sends one request and reads the answer to its end.

        Each event of an event stream is given to `on_event(data)`; when that returns true, enough was heard, and the
        connection is closed unless the stream ends by itself soon. Raises `Broken`.
        """
        if self.writer is None:
            await self.open()
        try:
            lines = [f"{method} {path} HTTP/1.1", f"host: {self.host}:{self.port}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            lines += [f"content-length: {len(body)}", "", ""]
            self.writer.write("\r\n".join(lines).encode() + body)
            await self.writer.drain()
            reply = await self._head()
            # What is not read to its end must not be taken for the beginning of the next answer.
            is_whole = await self._body(reply, on_event)
            if not is_whole or reply.headers.get("connection", "").lower() == "close":
                self.close()
            return reply
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as why:
            self.close()
            raise Broken(f"{type(why).__name__}: {why}") from None
        except BaseException:
            # Above all: cancelled in the middle, by a deadline.
            self.close()
            raise

    async def _head(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        if len(head) > HEAD_MAX:
            raise ValueError("the head is too long")
        first, *rest = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ")[1])
        if 100 <= status < 200:
            return await self._head()
        headers = {}
        for line in rest:
            name, colon, value = line.partition(":")
            if colon:
                headers[name.strip().lower()] = value.strip()
        return Reply(status, headers)

    async def _body(self, reply, on_event):
        """Reads to the end. False when enough was heard and the end did not come; nothing more can be read then."""
        events = Events(on_event) if reply.is_stream and on_event else None
        pieces, is_enough = self._pieces(reply).__aiter__(), False
        while True:
            try:
                piece = await asyncio.wait_for(pieces.__anext__(), AFTER_ENOUGH if is_enough else None)
            except StopAsyncIteration:
                return True
            except asyncio.TimeoutError:
                return False
            reply.n_bytes += len(piece)
            if events is None:
                reply.body += piece[: max(0, KEPT - len(reply.body))]
            else:
                is_enough = events.take(piece) or is_enough

    async def _pieces(self, reply):
        if reply.status in (202, 204, 304):
            if int(reply.headers.get("content-length", "0")) == 0 and "transfer-encoding" not in reply.headers:
                return
        if reply.headers.get("transfer-encoding", "").lower() == "chunked":
            while True:
                size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
                async for piece in self._exactly(size):
                    yield piece
                await self.reader.readexactly(2)
                if size == 0:
                    return
        elif "content-length" in reply.headers:
            async for piece in self._exactly(int(reply.headers["content-length"])):
                yield piece
        else:
            reply.headers["connection"] = "close"
            while piece := await self.reader.read(256 << 10):
                yield piece

    async def _exactly(self, n_left):
        while n_left > 0:
            piece = await self.reader.read(min(n_left, 256 << 10))
            if not piece:
                raise asyncio.IncompleteReadError(b"", n_left)
            n_left -= len(piece)
            yield piece


class Events:
    """Takes an event stream apart, in whatever pieces it comes."""

    def __init__(self, on_event):
        self.on_event = on_event
        self.rest = b""
        self.data = b""

    def take(self, piece):
        """True when the listener has heard enough; it hears the rest of the piece all the same."""
        *lines, self.rest = (self.rest + piece).split(b"\n")
        # The beginning of an event that is longer than anybody wants still says what it is.
        self.rest = self.rest[:KEPT]
        is_enough = False
        for line in lines:
            line = line.rstrip(b"\r")
            if line.startswith(b"data:"):
                self.data += line[5:].lstrip()
            elif not line and self.data:
                data, self.data = self.data, b""
                is_enough = self.on_event(data[:KEPT]) or is_enough
        return is_enough
