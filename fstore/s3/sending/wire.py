"""Connections to one server, each wait bounded by the call it serves.

None is shared with a forked child. urllib3 connects and speaks TLS. Behind its connection lies a socket that knows
when the call at hand is due, so that one deadline bounds a whole answer, its head and one that drips included,
wherever it is read.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from fstore.runtime import deadline
from fstore.runtime.fork_safety import forget_in_children
from fstore.s3.options import Origin
from fstore.s3.sending.proxies import NoWay, proxy_for

CONNECT_S = 3.0
IDLE_S = 20.0  # servers close what was idle for longer, often at the very moment when it is used again
_CHUNK = 256 * 1024

BROKEN = (OSError, http.client.HTTPException, HTTPError)
"""What an exchange raises that did not come to its end; whether the server acted nobody knows."""


@dataclass(slots=True)
class Call:
    """How long an exchange may take in all, and how long without a byte."""

    ends_at: float
    stall_s: float

    @property
    def left_s(self) -> float:
        """Seconds until it is due."""
        return self.ends_at - time.monotonic()

    def next_wait_s(self) -> float:
        """Return how long the next wait may be; raises ``TimeoutError`` when there is no time for one."""
        left = self.left_s
        if left <= 0:
            raise TimeoutError("the time for the answer is up")
        return min(left, self.stall_s)


class _Socket:
    """A connected socket whose waits end with the call it serves.

    Closing is its owner's: responses come and go.
    """

    def __init__(self, connected: socket.socket, call: Call) -> None:
        self._connected, self.call = connected, call

    def sendall(self, data: Any) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            self._connected.settimeout(self.call.next_wait_s())
            rest = rest[self._connected.send(rest[:_CHUNK]) :]

    def recv_into(self, view: Any) -> int:
        self._connected.settimeout(self.call.next_wait_s())
        return self._connected.recv_into(view)

    def makefile(self, *_: Any) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self), 16 * 1024)

    def fileno(self) -> int:
        return self._connected.fileno()

    def settimeout(self, _: float | None) -> None:
        """Nothing: the call says how long."""

    def close(self) -> None:
        """Nothing: see above."""


class _Incoming(io.RawIOBase):
    def __init__(self, bounded: _Socket) -> None:
        self._bounded = bounded

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        return self._bounded.recv_into(view)


class Connection:
    """One connection, used by one call at a time."""

    def __init__(self, pool: Pool, call: Call) -> None:
        origin, proxy = pool.origin, proxy_for(pool.origin)
        timeout = min(CONNECT_S, call.next_wait_s())
        host, port = (proxy.host, proxy.port) if proxy else (origin.host, origin.port)
        self._http: HTTPConnection
        self._by_proxy: tuple[str, Mapping[str, str]] | None = None
        if origin.scheme == "https":
            self._http = HTTPSConnection(host, port, timeout=timeout, ssl_context=pool.trust())
            if proxy:
                self._http.set_tunnel(origin.host, origin.port or 443, headers=proxy.headers)
        else:
            self._http = HTTPConnection(host, port, timeout=timeout)
            if proxy:
                self._by_proxy = origin.url, proxy.headers
        try:
            deadline.bounded(self._http.connect, timeout + 0.1)  # which asks for an address first, unbounded
        except deadline.Overdue as error:
            raise TimeoutError("no connection in time") from error
        except ssl.SSLError as error:
            self._http.close()
            raise _not_trusted(error, origin, pool.ca_file) from error
        self._connected: socket.socket = self._http.sock
        self._bounded = _Socket(self._connected, call)
        self._http.sock = self._bounded
        self.used_at = time.monotonic()
        self.is_reusable = True

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: memoryview | None, call: Call
    ) -> http.client.HTTPResponse:
        """Send a request and return the answer with its body unread."""
        self._bounded.call = call
        self.is_reusable = False
        if self._by_proxy is not None:
            target, headers = self._by_proxy[0] + target, {**headers, **self._by_proxy[1]}
        try:
            self._http.request(method, target, body=body, headers=headers, preload_content=False)  # type: ignore[arg-type]
        except (BrokenPipeError, ConnectionResetError) as error:
            # A server may refuse a request before it has seen all of it: what it says counts.
            try:
                return http.client.HTTPConnection.getresponse(self._http)
            except BROKEN:
                raise error from None
        return http.client.HTTPConnection.getresponse(self._http)

    def wait_within(self, call: Call) -> None:
        """Bound what is still to come of an answer anew."""
        self._bounded.call = call

    def finish(self, response: http.client.HTTPResponse) -> None:
        """Keep the connection for another call if its answer was read to the end."""
        self.is_reusable = response.isclosed() and not response.will_close
        self.used_at = time.monotonic()

    @property
    def is_fresh(self) -> bool:
        """Whether it may be used again."""
        return self.is_reusable and time.monotonic() - self.used_at < IDLE_S and self._http.is_connected

    def close(self) -> None:
        """Close it, here only: a parent that has it too keeps it."""
        with suppress(OSError, AttributeError):  # which is not there when it was never connected
            self._connected.close()

    __del__ = close


class Pool:
    """The connections of one process to one server; a forked child has none of its parent's."""

    def __init__(self, origin: Origin, *, most: int, ca_file: Path | None) -> None:
        self.origin, self._most, self.ca_file = origin, most, ca_file
        self._open: set[Connection] = set()
        self._idle: list[Connection] = []
        self.forget_after_fork()
        forget_in_children(self)

    def forget_after_fork(self) -> None:
        """Begin with no connection: bytes that a parent asked for would come to whoever reads first."""
        inherited, self._open, self._idle = self._open, set(), []
        for connection in inherited:
            connection.close()
        self._guard, self._slots = threading.Lock(), threading.BoundedSemaphore(self._most)
        self._trust: Any = None

    @contextmanager
    def connection(self, call: Call, *, fresh: bool = False) -> Iterator[Connection]:
        """Lend a connection, a new one if ``fresh``; it is closed unless its exchange came to its end."""
        slots = self._slots
        if not slots.acquire(timeout=max(0.0, call.left_s)):
            raise TimeoutError("all connections of this process were in use")
        try:
            found = (None if fresh else self._idle_one()) or self._new(call)
            try:
                yield found
            finally:
                self._give_back(found)
        finally:
            slots.release()

    def close(self) -> None:
        """Close what is idle."""
        with self._guard:
            idle, self._idle = self._idle, []
            self._open.difference_update(idle)
        for connection in idle:
            connection.close()

    def trust(self) -> Any:
        """Return whom this process believes to be the server it says it is, read once."""
        if self._trust is None:
            context = create_urllib3_context()
            if self.ca_file is None:
                context.load_default_certs()
            else:
                try:
                    context.load_verify_locations(self.ca_file)
                except OSError as error:  # ssl's own errors among them
                    raise NoWay(
                        f"FEATURE_STORE_S3_CA_FILE={self.ca_file} holds no certificates that can be read "
                        f"({error.strerror or error}); name a file of PEM certificates"
                    ) from error
            self._trust = context
        return self._trust

    def _new(self, call: Call) -> Connection:
        made = Connection(self, call)
        with self._guard:
            self._open.add(made)
        return made

    def _idle_one(self) -> Connection | None:
        while True:
            with self._guard:
                if not self._idle:
                    return None
                found = self._idle.pop()
            if found.is_fresh:
                return found
            self._drop(found)

    def _give_back(self, used: Connection) -> None:
        if used.is_reusable:
            with self._guard:
                if used in self._open:  # else this is a child that was forked while its parent used it
                    self._idle.append(used)
                    return
        self._drop(used)

    def _drop(self, used: Connection) -> None:
        with self._guard:
            self._open.discard(used)
        used.close()


_EXPIRED, _NOT_YET, _OTHER_NAMES = 10, 9, {62, 64}  # as OpenSSL numbers what it found wrong with a certificate


def _not_trusted(error: ssl.SSLError, origin: Origin, ca_file: Path | None) -> Exception:
    """Tell what to do about a server that did not prove to be the one it says it is.

    Of other faults of TLS, return just those.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        code = error.verify_code
        if code in {_EXPIRED, _NOT_YET}:
            advice = "it has expired or is not valid yet: renew it, or set this host's clock"
        elif code in _OTHER_NAMES:
            advice = "it is for another name: give FEATURE_STORE_S3_ENDPOINT_URL the name that it is for"
        elif ca_file is None:
            advice = "no authority that this host trusts signed it: name its own by FEATURE_STORE_S3_CA_FILE"
        else:
            advice = f"none of the authorities in FEATURE_STORE_S3_CA_FILE={ca_file} signed it"
        return NoWay(f"the certificate of {origin.host} is not to be trusted ({error.verify_message}); {advice}")
    if error.reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}:
        return NoWay(f"{origin.host} does not speak TLS at this port; is the address one that begins with http://?")
    return error
