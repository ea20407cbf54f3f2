"""Certificates of the tests' own making, and Postgres and Redis that speak TLS with them."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fstore.settings.loading import gather_settings
from fstore.stack.processes.os_user import server_account
from fstore.stack.servers.embedded import EmbeddedServers
from fstore.stack.servers.ports import choose_port
from tests.support.tls_front import Authority

_HBA = "local all all scram-sha-256\nhostssl all all 127.0.0.0/8 scram-sha-256\n"
# Debian's redis-tools holds the whole server under this name; the server of the wheel is built without TLS.
_REDIS_NAMES = ("redis-server", "redis-check-rdb")


@dataclass(frozen=True)
class Place:
    """Where the servers listen with TLS, and whom to trust."""

    postgres: str
    redis: str
    redis_port: int
    authority: Authority
    stranger: Authority

    def postgres_url(self, *, trusted: Authority | None = None) -> str:
        """Return the address by which clients verify Postgres' name and certificate."""
        return f"{self.postgres}?sslmode=verify-full&sslrootcert={(trusted or self.authority).certificate}"

    def redis_url(self, *, trusted: Authority | None = None, host: str = "127.0.0.1") -> str:
        """Return the address by which clients verify Redis' name and certificate."""
        place = self.redis.replace("127.0.0.1", host)
        return f"{place}?ssl_ca_certs={(trusted or self.authority).certificate}"


def missing() -> str | None:
    """Say what this machine lacks for servers with TLS; None when it lacks nothing."""
    if shutil.which("openssl") is None:
        return "no openssl to make certificates with"
    if tls_postgres() is None:
        return "no Postgres with TLS (Debian: postgresql-15; the wheel's has none)"
    if tls_redis() is None:
        return "no Redis with TLS (Debian: redis-tools; the wheel's has none)"
    return None


def tls_postgres() -> Path | None:
    """Find the programs of a Postgres that was built with TLS."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").exists() and b"libssl" in (folder / "postgres").read_bytes():
            return folder
    return None


def tls_redis() -> Path | None:
    """Find the program of a Redis that was built with TLS."""
    for name in _REDIS_NAMES:
        found = shutil.which(name)
        if found and b"libssl" in Path(found).read_bytes():
            return Path(found).resolve()
    return None


@contextmanager
def tls_servers() -> Iterator[Place]:
    """Run both embedded servers with certificates; Postgres lets nobody in over TCP without TLS."""
    folder = Path(tempfile.mkdtemp(prefix="fstore-tls-"))
    folder.chmod(0o711)
    try:
        certificates = folder / "certificates"
        certificates.mkdir(mode=0o755)
        authority, stranger = Authority(certificates, "authority"), Authority(certificates, "stranger")
        # Postgres' port also names its socket, so its TCP side takes an address of its own instead of a port.
        address = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        postgres_settings = _postgres_settings(folder, address, authority.issue("postgres", f"IP:{address}"))
        port = choose_port(f"{folder} tls")
        redis_server = _redis_wrapper(folder, port, authority)
        chosen = gather_settings(
            {"path": folder / "root", "pg_bindir": tls_postgres(), "redis_server": redis_server}, environ={}
        )
        with EmbeddedServers(folder / "root", settings=chosen, postgres_settings=postgres_settings) as servers:
            user = servers.postgres_url.partition("@")[0]
            password = servers.redis_url.partition("@")[0].replace("redis://", "rediss://")
            yield Place(f"{user}@{address}:5432/fstore", f"{password}@127.0.0.1:{port}/0", port, authority, stranger)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _postgres_settings(folder: Path, address: str, certificate: tuple[Path, Path]) -> dict[str, str]:
    hba = folder / "pg_hba.conf"
    hba.write_text(_HBA)
    account = server_account()
    for path in (*certificate, hba):
        path.chmod(0o600)
        if account is not None:
            shutil.chown(path, account.uid, account.gid)
    return {
        "listen_addresses": address,
        "hba_file": str(hba),
        "ssl": "on",
        "ssl_cert_file": str(certificate[0]),
        "ssl_key_file": str(certificate[1]),
    }


def _redis_wrapper(folder: Path, port: int, authority: Authority) -> Path:
    """Write a program that is Redis with a TLS port beside its own."""
    certificate, key = authority.issue("redis", "IP:127.0.0.1")
    account = server_account()
    for path in (certificate, key):
        if account is not None:
            shutil.chown(path, account.uid, account.gid)
    options = (
        f"--tls-port {port} --tls-cert-file {certificate} --tls-key-file {key} "
        f"--tls-ca-cert-file {authority.certificate} --tls-auth-clients no"
    )
    wrapper = folder / "redis-with-tls"
    wrapper.write_text(
        "#!/bin/bash\n"
        f'[ "$1" = --version ] && exec -a redis-server {tls_redis()} --version\n'
        f'exec -a redis-server {tls_redis()} "$@" {options}\n'
    )
    wrapper.chmod(0o755)
    return wrapper
