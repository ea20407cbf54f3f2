"""PgBouncer in front of a test's Postgres, in transaction mode, with fewer server connections than there are clients."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from tests.waiting import eventually

PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
PROGRAM = shutil.which("pgbouncer", path=PATH)  # Debian installs it where only administrators look


SIZE = int(os.environ.get("FSTORE_TEST_POOLER") or 0)  # server connections of the run's pooler; 0: there is none


def needs_sessions(wanted: int) -> pytest.MarkDecorator:
    """Skip a test that holds more sessions at once than the run's pooler has; without one it runs."""
    return pytest.mark.skipif(0 < SIZE < wanted, reason=f"{wanted} sessions at once, FSTORE_TEST_POOLER={SIZE}")


def without_pooler() -> pytest.MarkDecorator:
    """Skip a test of what holds where no pooler stands before Postgres."""
    return pytest.mark.skipif(SIZE > 0, reason=f"FSTORE_TEST_POOLER={SIZE}")


class Pooler:
    """A PgBouncer that can be killed and started again; it refuses startup options, as it does by default."""

    def __init__(self, folder: Path, postgres_url: str, *, pool_mode: str, pool_size: int, extra: str) -> None:
        self._folder = folder
        server = parse_dsn(postgres_url)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.log = folder / "pgbouncer.log"
        self._users = {server["user"]: server.get("password", "")}
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={server['host']} port={server.get('port', 5432)}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {folder / 'users'}\npool_mode = {pool_mode}\n"
            f"default_pool_size = {pool_size}\nmax_db_connections = {pool_size}\nmax_client_conn = 500\n{extra}"
        )
        self.trust(server["user"], password=server.get("password", ""))
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)  # it refuses to run as root
        self._process: subprocess.Popen[bytes] | None = None

    def trust(self, *users: str, password: str) -> None:
        """Let these users through, with the password that Postgres knows; before it starts."""
        self._users |= dict.fromkeys(users, password)
        lines = [f'"{user}" "{word}"\n' for user, word in self._users.items()]
        (self._folder / "users").write_text("".join(lines))

    def url(self, behind: str) -> str:
        """Return the address by which the database at ``behind`` is reached through the pooler."""
        server = parse_dsn(behind)
        return f"postgresql://{server['user']}:{server.get('password', '')}@127.0.0.1:{self.port}/{server['dbname']}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        somebody = "nobody" if os.geteuid() == 0 else None
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(
                [str(PROGRAM), str(self._folder / "pgbouncer.ini")],
                stdout=out, stderr=out, user=somebody, group=_group_of(somebody), extra_groups=[] if somebody else None,
            )  # fmt: skip
        eventually(self._listens, seconds=10, what="the pooler to listen")

    def kill(self) -> None:
        """Kill it with SIGKILL: every connection through it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def _listens(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the pooler ended:\n{self.log.read_text()[-2000:]}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False


@contextmanager
def pooling(
    postgres_url: str, *, pool_mode: str = "transaction", pool_size: int = 2, extra: str = ""
) -> Iterator[Pooler]:
    """Run a pooler before a server as long as the block lasts."""
    folder = Path(tempfile.mkdtemp(prefix="fstore-pooler-"))
    pooler = Pooler(folder, postgres_url, pool_mode=pool_mode, pool_size=pool_size, extra=extra)
    try:
        pooler.start()
        yield pooler
    finally:
        pooler.kill()
        shutil.rmtree(folder, ignore_errors=True)


def absent() -> str | None:
    """Return why no pooler can be run here, or None."""
    return None if PROGRAM else "pgbouncer is not installed"


def _group_of(user: str | None) -> int | None:
    return pwd.getpwnam(user).pw_gid if user else None
