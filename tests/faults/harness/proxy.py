"""A TCP proxy that misbehaves on demand: silence, delay, resets, half-open links, replies that never arrive.

It runs in a thread with a loop of its own, understands no protocol and knows
nothing of the product: ``Proxy.before(url)`` reads where a Postgres or Redis URL
leads, ``proxy.url`` is the same URL through the proxy.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit, urlunsplit

Direction = Literal["to server", "to client"]
Address = tuple[str, int] | str  # a host and port, or the path of a Unix socket

T = TypeVar("T")


@dataclass
class Fault:
    """What is done to the bytes; the counters start when the fault is set."""

    kind: Literal["none", "drop", "reset", "swallow"] = "none"
    delay_s: float = 0.0
    direction: Direction | None = None  # None: both
    left: int = 0  # bytes until a reset
    marker: bytes = b""  # a request with these bytes gets no reply
    until: bytes = b""  # the reply is complete when it has these bytes
    reset: bool = True  # whether the link is reset once the reply was swallowed, or stays open and silent
    times: int = 1
    happened: int = 0


@dataclass(eq=False)
class Link:
    """One client and its connection to the server."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    tail: dict[Direction, bytes] = field(default_factory=dict)
    swallowing: bool = False


class Proxy:
    """Passes connections on to one server until told otherwise; use it as a context manager."""

    def __init__(self, upstream: Address, url: str = "") -> None:
        self.upstream = upstream
        self._url = url
        self.port = 0
        self.connections = 0
        self.fault = Fault()
        self._links: set[Link] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._server: asyncio.Server | None = None

    @classmethod
    def before(cls, url: str) -> Proxy:
        """Make a proxy for the server of a ``postgresql://`` or ``redis://`` URL."""
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if query.get("host", "").startswith("/"):
            return cls(f"{query['host']}/.s.PGSQL.{query.get('port', '5432')}", url)
        host, port = query.get("host") or parts.hostname or "127.0.0.1", query.get("port") or parts.port
        return cls((host, int(port or (6379 if parts.scheme == "redis" else 5432))), url)

    @property
    def url(self) -> str:
        """The URL given to ``before``, through the proxy."""
        parts = urlsplit(self._url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items() if name not in ("host", "port")}
        login = parts.netloc.rpartition("@")[0]
        netloc = f"{login}@127.0.0.1:{self.port}" if login else f"127.0.0.1:{self.port}"
        return urlunsplit((parts.scheme, netloc, parts.path, urlencode(query, quote_via=quote), parts.fragment))

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def forward(self) -> None:
        """Behave again; links that lost bytes to ``drop`` are reset, as a healed route would find them out of step."""
        lossy = self.fault.kind == "drop"
        self._set(Fault())
        if lossy:
            self.reset_all()

    def drop(self, direction: Direction | None = None) -> None:
        """Swallow all bytes without closing anything: a black hole, to new connections too."""
        self._set(Fault("drop", direction=direction))

    def delay(self, seconds: float) -> None:
        """Hold every piece of data back for so long."""
        self._set(Fault(delay_s=seconds))

    def reset_after(self, count: int, direction: Direction, *, times: int = 1) -> None:
        """Let ``count`` more bytes pass in a direction, cut the piece there and reset both sides; ``times`` over."""
        self._set(Fault("reset", direction=direction, left=count, times=times))

    def swallow_reply(self, marker: bytes, *, until: bytes = b"", reset: bool = True, times: int = 1) -> None:
        """Let the next request with ``marker`` through and lose its reply; then reset the link, or leave it silent.

        The reply counts as complete with its first bytes, or when ``until`` was in it:
        for Postgres ``READY`` says that the transaction is over.
        """
        self._set(Fault("swallow", marker=marker, until=until, reset=reset, times=times))

    def half_open(self) -> None:
        """Close every link towards the server and leave the clients' sides open and silent."""

        async def close() -> None:
            for link in list(self._links):
                link.swallowing = True
                abort(link.server)

        self._set(Fault("drop"))
        self._run(close())

    def reset_all(self) -> None:
        """Reset every link on both sides."""

        async def reset() -> None:
            for link in list(self._links):
                self._reset(link)

        self._run(reset())

    def _set(self, fault: Fault) -> None:
        async def change() -> None:
            self.fault = fault

        self._run(change())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            if isinstance(self.upstream, str):
                upstream, server = await asyncio.open_unix_connection(self.upstream)
            else:
                upstream, server = await asyncio.open_connection(*self.upstream)
        except OSError:
            abort(writer)
            return
        link = Link(writer, server)
        self._links.add(link)
        self._writers.update((writer, server))
        for pump in (self._pump(link, reader, server, "to server"), self._pump(link, upstream, writer, "to client")):
            task = asyncio.create_task(pump)
            self._pumps.add(task)
            task.add_done_callback(self._pumps.discard)

    async def _pump(self, link: Link, reader: asyncio.StreamReader, to: asyncio.StreamWriter, way: Direction) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                fault = self.fault
                if fault.delay_s:
                    await asyncio.sleep(fault.delay_s)
                passed = self._judge(link, data, way)
                if passed:
                    to.write(passed)
                    await to.drain()
                if link not in self._links:
                    return
        if (
            self.fault.kind != "drop" and not link.swallowing
        ):  # in a black hole not even the end of a stream gets through
            self._links.discard(link)
            with suppress(OSError):
                to.close()

    def _judge(self, link: Link, data: bytes, way: Direction) -> bytes:
        """Return what of ``data`` is passed on, and do what the fault does to the link."""
        fault = self.fault
        if fault.kind == "drop" and fault.direction in (None, way):
            fault.happened += len(data)
            return b""
        if fault.kind == "reset" and fault.direction == way and fault.happened < fault.times:
            if len(data) < fault.left:
                fault.left -= len(data)
                return data
            fault.happened += 1
            head = data[: fault.left]
            self._loop.call_soon(self._reset, link)
            return head
        if link.swallowing and way == "to client":
            seen = link.tail.get(way, b"") + data
            if fault.until in seen:
                fault.happened += 1
                if fault.reset:
                    self._reset(link)
            link.tail[way] = seen[-64:]
            return b""
        if fault.kind == "swallow" and way == "to server" and fault.happened < fault.times:
            seen = link.tail.get(way, b"") + data
            link.swallowing = fault.marker in seen
            link.tail[way] = b"" if link.swallowing else seen[-len(fault.marker) :]
        return data

    def _reset(self, link: Link) -> None:
        self._links.discard(link)
        abort(link.client)
        abort(link.server)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            self._reset(link)
        for task in list(self._pumps):
            task.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)
        for writer in self._writers:  # half of a link may have been over, with the other half's socket still open
            abort(writer)
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next round


READY: bytes = b"Z\x00\x00\x00\x05I"  # Postgres: ready for the next query, outside any transaction


def abort(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of an orderly end."""
    sock: socket.socket | None = writer.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport: Callable[[], None] = writer.transport.abort
    transport()
