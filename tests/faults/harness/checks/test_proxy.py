"""The proxy of the fault suite does what its methods say, to any protocol."""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import psycopg2
import pytest
import redis

from tests.conftest import Servers
from tests.faults.harness.proxy import READY, Proxy
from tests.waiting import eventually


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets, and keeps it."""

    seen = b""

    def handle(self) -> None:
        try:
            while data := self.request.recv(1 << 16):
                type(self).seen += data
                self.request.sendall(data)
        except OSError:
            return


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A proxy before an echo server."""
    Echo.seen = b""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Proxy(("127.0.0.1", server.server_address[1])) as proxy:
            yield proxy
        server.shutdown()


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    """A client that has been answered once."""
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        client.settimeout(0.3)
        yield client


def test_dropped_bytes_are_gone_and_the_link_is_reset_when_it_heals(proxy, client):
    """A black hole closes nothing; behind a healed route both ends find their connection out of step."""
    proxy.drop()
    client.sendall(b"lost")
    with pytest.raises(TimeoutError):
        client.recv(100)
    proxy.forward()
    with pytest.raises(ConnectionResetError):
        client.recv(100)
    assert Echo.seen == b"hello"


def test_one_direction_can_be_dropped(proxy, client):
    """The server hears, the client does not."""
    proxy.drop("to client")
    client.sendall(b"heard")
    eventually(lambda: Echo.seen == b"helloheard", seconds=5, what="the server to hear")
    with pytest.raises(TimeoutError):
        client.recv(100)


def test_bytes_are_delayed(proxy, client):
    """Each piece takes as long as told, once each way."""
    proxy.delay(0.2)
    client.settimeout(5)
    began = time.monotonic()
    client.sendall(b"slow")
    assert client.recv(100) == b"slow"
    assert time.monotonic() - began >= 0.4


@pytest.mark.parametrize(
    ("direction", "got", "seen"), [("to client", b"abc", b"abcdef"), ("to server", b"abc", b"abc")]
)
def test_a_link_is_reset_after_so_many_bytes(proxy, client, direction, got, seen):
    """The piece is cut, both sides are reset; the next connection works."""
    proxy.reset_after(3, direction)
    client.sendall(b"abcdef")
    received = b""
    with pytest.raises(ConnectionResetError):
        while True:
            received += client.recv(100)
    assert got.startswith(received)  # a reset may overtake what was sent before it
    eventually(
        lambda: Echo.seen.removeprefix(b"hello").startswith(seen[:1]) or not received, seconds=5, what="the rest"
    )
    assert proxy.fault.happened == 1
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as again:
        again.sendall(b"x")
        assert again.recv(1) == b"x"


def test_a_half_open_link_is_closed_on_one_side_only(proxy, client):
    """The server is gone, and the client is not told."""
    proxy.half_open()
    client.sendall(b"lost")
    with pytest.raises(TimeoutError):
        client.recv(100)
    assert Echo.seen == b"hello"


@pytest.mark.parametrize("reset", [True, False])
def test_the_reply_to_a_marked_request_is_lost(proxy, client, reset):
    """The request gets through, though its marker came in two pieces; requests without it are answered."""
    proxy.swallow_reply(b"COMMIT", reset=reset)
    client.sendall(b"plain")
    assert client.recv(100) == b"plain"
    client.sendall(b"..COM")
    assert client.recv(100) == b"..COM"
    client.sendall(b"MIT;")
    with pytest.raises(ConnectionResetError if reset else TimeoutError):
        client.recv(100)
    assert Echo.seen.endswith(b"..COMMIT;")
    assert proxy.fault.happened == 1


def test_postgres_and_redis_are_reached_by_their_urls(servers: Servers):
    """Unix sockets too; the answer to a commit is lost only after the commit."""
    with Proxy.before(servers.redis_url) as proxy, redis.Redis.from_url(proxy.url) as client:
        assert client.ping()
        assert proxy.connections == 1
    with Proxy.before(servers.postgres_url) as proxy:
        connection = psycopg2.connect(proxy.url)
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE IF NOT EXISTS proxied (x int)")
        proxy.swallow_reply(b"COMMIT", until=READY)
        with pytest.raises(psycopg2.OperationalError):
            connection.commit()
        connection.close()
    with psycopg2.connect(servers.postgres_url) as direct, direct.cursor() as cursor:
        cursor.execute("DROP TABLE proxied")
    direct.close()
