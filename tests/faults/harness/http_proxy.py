"""A proxy before an object store that misbehaves by request: it reads HTTP, ``Proxy`` reads bytes.

    with HttpProxy(server.address) as proxy:
        proxy.on("GET", "entries/", answer=slow_down(), times=2)
        proxy.on("PUT", "entries/", lose_answer=True)
        ...
    assert proxy.count("PUT", "entries/") == 2

The client's endpoint is the proxy, so the host it signs is the one it sends. A rule is
used up after ``times``; the first that fits decides. Bodies are passed on as they come,
and read whole only where a rule rewrites them.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Self, TypeVar

from tests.faults.harness.http_messages import Message, has_body, read_body, read_head
from tests.faults.harness.http_rules import Rule, Seen
from tests.faults.harness.proxy import abort

T = TypeVar("T")


class HttpProxy:
    """Passes requests on to one server until told otherwise; use it as a context manager."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self.upstream = upstream
        self.port = 0
        self.connections = 0
        self.requests: list[Seen] = []
        self._rules: list[Rule] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="http-proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def endpoint(self) -> str:
        """The URL that clients are given."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def on(self, method: str = "", part: str = "", **what: Any) -> Rule:
        """Add a rule; rules made earlier are asked first."""
        rule = Rule(method, part, **what)
        self._rules.append(rule)
        return rule

    def forward(self) -> None:
        """Behave again; what is silent or drips ends with a reset."""
        self._rules.clear()
        self._run(self._end_all())

    def stop(self) -> None:
        """Be away: every connection is reset, and new ones are refused."""
        self._run(self._close())

    def start(self) -> None:
        """Be back, at the same port."""
        self._run(self._listen())

    def count(self, method: str = "", part: str = "") -> int:
        """Count the requests that came."""
        return len(self.seen(method, part))

    def seen(self, method: str = "", part: str = "") -> list[Seen]:
        """Return the requests that came."""
        return [one for one in self.requests if method in ("", one.method) and part in one.target]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._writers.add(writer)
        try:
            while (request := await read_head(reader)) and await self._pass(request, reader, writer):
                pass
            writer.close()
        except (OSError, asyncio.IncompleteReadError, ValueError):
            abort(writer)
        except asyncio.CancelledError:
            abort(writer)  # told to end; raised again it would be printed
        finally:
            self._serving.discard(task)
            self._writers.discard(writer)

    async def _pass(self, request: Message, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Handle one request; False when the connection is over."""
        seen = Seen(request.method, request.target, request.headers)
        self.requests.append(seen)
        rule = next((rule for rule in self._rules if rule.fits(request)), Rule())
        if rule.before:
            await self._call(rule.before)
        if "100-continue" in request.header("Expect").lower():
            request.drop("Expect")
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if rule.silent:
            await asyncio.sleep(3600)
        if rule.answer is not None:
            async for piece in read_body(reader, request):
                seen.received += len(piece)
            seen.status = rule.answer.status
            await self._say(_framed(rule.answer, request.method), request.method, writer)
            return True
        try:
            upstream, server = await asyncio.open_connection(*self.upstream, limit=1 << 20)
        except OSError:
            abort(writer)
            return False
        self._writers.add(server)
        try:
            if not await self._ask(rule, request, reader, server, seen):
                abort(writer)
                return False
            answer = await read_head(upstream)
            if answer is None:
                abort(writer)
                return False
            return await self._answer(rule, request, answer, upstream, writer, seen)
        finally:
            self._writers.discard(server)
            abort(server)

    async def _ask(
        self, rule: Rule, request: Message, reader: asyncio.StreamReader, server: asyncio.StreamWriter, seen: Seen
    ) -> bool:
        request.set("Connection", "close")
        if rule.rewrite_request:
            request.body = b"".join([piece async for piece in read_body(reader, request)])
            seen.received = len(request.body)
            rule.rewrite_request(request)
            request.drop("Transfer-Encoding")
            request.set("Content-Length", str(len(request.body)))
            server.write(request.head() + request.body)
            await server.drain()
            return True
        chunked = "chunked" in request.header("Transfer-Encoding").lower()
        server.write(request.head())
        async for piece in read_body(reader, request):
            seen.received += len(piece)
            if rule.cut_request_after is not None and seen.received >= rule.cut_request_after:
                server.write(piece[: len(piece) - (seen.received - rule.cut_request_after)])
                await server.drain()
                return False
            server.write(_chunk(piece) if chunked else piece)
            await server.drain()
        if chunked:
            server.write(_chunk(b""))
        await server.drain()
        return True

    async def _answer(
        self,
        rule: Rule,
        request: Message,
        answer: Message,
        upstream: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        seen: Seen,
    ) -> bool:
        body = read_body(upstream, answer, until_end=True) if has_body(answer, request.method) else _nothing()
        if rule.after or rule.lose_answer or rule.wait_s or rule.rewrite_answer:
            answer.body = b"".join([piece async for piece in body])
            body = _whole(answer.body)
        if rule.after:
            await self._call(rule.after)
        await asyncio.sleep(rule.wait_s)
        if rule.lose_answer:
            abort(writer)
            return False
        if rule.rewrite_answer:
            rule.rewrite_answer(answer)
            _framed(answer, request.method)
            body = _whole(answer.body)
        seen.status = answer.status
        answer.drop("Connection")
        chunked = "chunked" in answer.header("Transfer-Encoding").lower()
        writer.write(answer.head())
        async for piece in body:
            if not await self._pour(rule, _chunk(piece) if chunked else piece, len(piece), writer, seen):
                return False
        if chunked:
            writer.write(_chunk(b""))
        await writer.drain()
        return bool(chunked or answer.header("Content-Length") or not has_body(answer, request.method))

    async def _pour(self, rule: Rule, data: bytes, size: int, writer: asyncio.StreamWriter, seen: Seen) -> bool:
        """Send a piece as the rule has it; False when the connection is over."""
        if rule.cut_after is not None and seen.sent + size >= rule.cut_after:
            writer.write(data[: rule.cut_after - seen.sent])
            await writer.drain()
            seen.sent = rule.cut_after
            await asyncio.sleep(0.05)  # a reset would overtake what was sent just before it
            if rule.reset:
                abort(writer)
            else:
                writer.close()
            return False
        if rule.bytes_per_s:
            step = max(1, int(rule.bytes_per_s / 20))
            for at in range(0, len(data), step):
                writer.write(data[at : at + step])
                await writer.drain()
                await asyncio.sleep(step / rule.bytes_per_s)
        else:
            writer.write(data)
            await writer.drain()
        seen.sent += size
        return True

    async def _call(self, act: Callable[[], None]) -> None:
        await self._loop.run_in_executor(None, act)

    async def _say(self, answer: Message, method: str, writer: asyncio.StreamWriter) -> None:
        writer.write(answer.head() + (answer.body if has_body(answer, method) else b""))
        await writer.drain()

    async def _end_all(self) -> None:
        for task in list(self._serving):
            task.cancel()
        for writer in list(self._writers):
            abort(writer)
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._end_all()
        with contextlib.suppress(OSError):
            await asyncio.sleep(0)


async def _nothing() -> Any:
    for piece in ():
        yield piece


async def _whole(body: bytes) -> Any:
    for at in range(0, len(body), 1 << 16):
        yield body[at : at + (1 << 16)]


def _chunk(piece: bytes) -> bytes:
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


def _framed(answer: Message, method: str) -> Message:
    """Let the head say how long the body is."""
    if has_body(answer, method):
        answer.drop("Transfer-Encoding")
        answer.set("Content-Length", str(len(answer.body)))
    return answer
