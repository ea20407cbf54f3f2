"""The embedded Postgres: its data folder, how to run it, whether it answers."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg2

from fstore.errors import ConfigurationError
from fstore.stack.processes import identity
from fstore.stack.processes.children import ChildSpec
from fstore.stack.processes.os_user import Account
from fstore.stack.servers.binaries import PostgresBinaries

NAME = "postgres"
USER = DATABASE = "fstore"
SOCKET_PORT = 5432  # only names the socket file, nothing listens on TCP

SCRAM_ITERATIONS_SINCE = 16
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "deadlock_timeout": "1s",
    "fsync": "on",
    "client_connection_check_interval": "1s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d %a ",
    "logging_collector": "off",
    # logind may remove a user's POSIX shared memory at logout, while a detached stack goes on.
    "dynamic_shared_memory_type": "mmap",
    "max_parallel_workers_per_gather": "0",
}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """One data folder and what is needed to serve it."""

    binaries: PostgresBinaries
    data: Path
    runtime: Path
    password: str
    account: Account | None

    @property
    def url(self) -> str:
        """Where clients connect: a Unix socket, in a form that libpq and SQLAlchemy read alike."""
        return self._url(DATABASE)

    def initialise(self) -> bool:
        """Create the data folder when there is none; True when it was created.

        It is made under another name and renamed when complete, so a start that
        is killed here leaves nothing that looks like a database.
        """
        if (self.data / "PG_VERSION").exists():
            return False
        fresh, secret = self.data.with_name("postgres.new"), self.runtime / "initdb-password"
        shutil.rmtree(fresh, ignore_errors=True)
        for path in (fresh, secret):
            if path is fresh:
                path.mkdir(mode=0o700)
            else:
                path.unlink(missing_ok=True)
                path.touch(mode=0o600, exist_ok=False)
                path.write_text(self.password + "\n")
            if self.account is not None:
                os.chown(path, self.account.uid, self.account.gid)
        try:
            done = subprocess.run(  # noqa: S603 - initdb of the installation chosen above
                [
                    str(self.binaries.bindir / "initdb"),
                    f"--pgdata={fresh}",
                    f"--username={USER}",
                    f"--pwfile={secret}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale=C",
                    "--data-checksums",
                    # The password is random and long: no iteration makes it harder to guess, and 4096 of them
                    # cost each new connection 7 ms, which a crowd of trainers pays all at once.
                    *(["--set=scram_iterations=1"] if self.binaries.major >= SCRAM_ITERATIONS_SINCE else []),
                ],
                cwd=fresh,
                env=server_environment(),
                user=None if self.account is None else self.account.uid,
                group=None if self.account is None else self.account.gid,
                extra_groups=None if self.account is None else [],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=120,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as exc:
            raise ConfigurationError([f"initdb could not run in {fresh}: {exc}"]) from exc
        finally:
            secret.unlink(missing_ok=True)
        if done.returncode != 0:
            raise ConfigurationError([f"initdb could not create {self.data}:\n{done.stdout.strip()}"])
        fresh.replace(self.data)
        return True

    def spec(self, log: Path, settings: Mapping[str, str]) -> ChildSpec:
        """Return how to run the server; ``settings`` override the built-in ones."""
        chosen = {
            **SETTINGS,
            "port": str(SOCKET_PORT),
            "unix_socket_directories": _list_item(self.runtime),
            **settings,
        }
        return ChildSpec(
            name=NAME,
            argv=(
                str(self.binaries.bindir / "postgres"),
                "-D",
                str(self.data),
                *(part for name, value in chosen.items() for part in ("-c", f"{name}={value}")),
            ),
            env=server_environment(),
            cwd=self.data,
            log=log,
            is_ready=lambda _: self.answers(),
            before_start=self._forget_dead_postmaster,
            leftovers=lambda: identity.working_in(self.data, ("postgres",)),
            account=self.account,
            stop_signal=signal.SIGINT,  # fast shutdown: ends sessions, writes a checkpoint
            stop_grace=5.0,
            orphan_signal=signal.SIGINT,
            umask=0o077,
            essential=True,
        )

    def answers(self) -> bool:
        """Tell whether the server answers a query."""
        try:
            with closing(psycopg2.connect(self._url("postgres"), connect_timeout=2)) as connection:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                return True
        except psycopg2.OperationalError as exc:
            if "password authentication failed" in str(exc):
                raise ConfigurationError(
                    [f"the database in {self.data} has another password than choices.json says; restore that file"]
                ) from exc
            return False

    def ensure_database(self) -> None:
        """Create the database when it is not there yet."""
        with closing(psycopg2.connect(self._url("postgres"), connect_timeout=5)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
                if cursor.fetchone() is None:
                    cursor.execute(f"CREATE DATABASE {DATABASE}")

    def _url(self, database: str) -> str:
        host = quote(str(self.runtime), safe="/")
        return f"postgresql://{USER}:{self.password}@/{database}?host={host}&port={SOCKET_PORT}"

    def _forget_dead_postmaster(self) -> None:
        # Whoever worked in this folder was ended just before, by proof. What is left of its
        # pid file may name a stranger's process by now, and Postgres would then refuse to start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)


def data_major(data: Path) -> int | None:
    """Return the major version that wrote a data folder, None when there is none."""
    try:
        match = re.match(r"\d+", (data / "PG_VERSION").read_text())
    except OSError:
        return None
    return int(match[0]) if match else None


def server_environment() -> dict[str, str]:
    """Return the environment of a server: nothing of the caller's may change how it runs."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "LANG": "C", "TZ": "UTC"}


def _list_item(path: Path) -> str:
    return '"' + str(path).replace('"', '""') + '"'
