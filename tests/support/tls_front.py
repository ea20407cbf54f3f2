"""Servers before a server of plain bytes: one that speaks TLS, and a proxy that is asked to CONNECT."""

from __future__ import annotations

import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def openssl(folder: Path, *arguments: str) -> None:
    """Run ``openssl`` in a folder."""
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Authority:
    """An authority of a test's own, and the certificates that it signs."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self.folder, self.name = folder, name
        self.certificate = folder / f"{name}.pem"
        request = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3", "-subj", f"/CN={name}")
        openssl(folder, *request, "-keyout", f"{name}.key", "-out", f"{name}.pem")

    def issue(self, name: str, subject: str, *, days: int = 2) -> tuple[Path, Path]:
        """Make a certificate for ``IP:...`` or ``DNS:...``; one of minus a day has expired."""
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={subject}")
        request = ("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}")
        openssl(self.folder, *request, "-keyout", f"{name}.key", "-out", f"{name}.csr")
        sign = ("x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem", "-CAkey", f"{self.name}.key")
        openssl(
            self.folder, *sign, "-CAcreateserial", "-days", str(days), "-extfile", f"{name}.ext", "-out", f"{name}.crt"
        )
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"


@contextmanager
def tls_front(upstream: tuple[str, int], certificate: tuple[Path, Path]) -> Iterator[int]:
    """Speak TLS at a port and pass what is said on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def serve(connection: socket.socket) -> None:
        with (
            suppress(OSError),
            context.wrap_socket(connection, server_side=True) as inside,
            socket.create_connection(upstream) as beyond,
        ):
            _pass_on(inside, beyond)

    with _serving(serve) as port:
        yield port


@contextmanager
def connect_proxy(asked: list[str], upstreams: dict[str, tuple[str, int]]) -> Iterator[int]:
    """Be a proxy that notes the heads of requests in ``asked`` and leads each name where ``upstreams`` says."""

    def serve(connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (more := connection.recv(65536)):
            head += more
        head, _, rest = head.partition(b"\r\n\r\n")
        asked.append(head.decode())
        method, target, *_ = head.decode().split(" ")
        place = target if method == "CONNECT" else target.removeprefix("http://").partition("/")[0]
        with socket.create_connection(upstreams[place]) as beyond:
            if method == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                beyond.sendall(head + b"\r\n\r\n")
            beyond.sendall(rest)
            _pass_on(connection, beyond)

    with _serving(serve) as port:
        yield port


@contextmanager
def _serving(serve: Any) -> Iterator[int]:
    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with suppress(OSError, KeyError):
                serve(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=pump, args=(other, one), daemon=True)
    back.start()
    pump(one, other)
    back.join(5)
