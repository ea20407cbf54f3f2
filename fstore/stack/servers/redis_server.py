"""The embedded Redis: its data folder, how to run it, whether it answers."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from fstore.stack.processes import identity
from fstore.stack.processes.children import Child, ChildSpec
from fstore.stack.processes.os_user import Account
from fstore.stack.servers.postgres import server_environment

NAME = "redis"
_CANNOT_LOAD = re.compile(
    r"Can't handle RDB|Bad file format|Fatal error loading|Wrong signature|Unrecoverable error|AOF.*(?:fail|error)|Unexpected end of file"
)

_CONFIG = """\
bind 127.0.0.1
protected-mode yes
port {port}
requirepass {password}
dir ./
daemonize no
logfile ""
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
"""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """One data folder and what is needed to serve it."""

    program: Path
    data: Path
    port: int
    password: str
    account: Account | None

    @property
    def url(self) -> str:
        """Where clients connect: loopback TCP, the form every Redis client and kombu understand."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def spec(self, log: Path, say: Callable[[str], None]) -> ChildSpec:
        """Return how to run the server."""

        def mend(child: Child) -> None:
            if _CANNOT_LOAD.search(child.log_since_start()) and (aside := self._set_data_aside()):
                say(f"Redis could not load its data; they were moved to {aside} and it starts empty")

        return ChildSpec(
            name=NAME,
            # The password goes through a private file: everybody can read argument lists.
            argv=(str(self.program), "./redis.conf"),
            env=server_environment(),
            cwd=self.data,
            log=log,
            is_ready=self._is_ready,
            before_start=self._write_config,
            mend=mend,
            leftovers=lambda: identity.working_in(self.data, ("redis-server", "valkey-server")),
            account=self.account,
            stop_signal=signal.SIGTERM,
            stop_grace=3.0,
            orphan_signal=signal.SIGTERM,
            umask=0o077,
            essential=True,
        )

    def answers(self) -> bool:
        """Tell whether the server answers and has loaded its data."""
        client = redis.Redis(
            host="127.0.0.1",
            port=self.port,
            password=self.password,
            socket_timeout=2,
            socket_connect_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False
        finally:
            client.close()

    def _set_data_aside(self) -> Path | None:
        """Move data that cannot be loaded out of the way and return where to; Redis is allowed to forget."""
        if not any(path.name != "redis.conf" for path in self.data.iterdir()):
            return None
        aside = self.data.with_name(f"redis.unreadable-{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
        self.data.replace(aside)
        self.data.mkdir(mode=0o700)
        self._give(self.data)
        return aside

    def _is_ready(self, child: Child) -> bool:
        # A stranger on the port would refuse our password, so a PING that passes is our server's.
        return not child.has_ended() and self.answers()

    def _write_config(self) -> None:
        path = self.data / "redis.conf"
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(_CONFIG.format(port=self.port, password=self.password))
        self._give(path)

    def _give(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)
