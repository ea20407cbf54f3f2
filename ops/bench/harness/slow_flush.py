"""A Postgres whose every flush takes longer: strace holds each fsync and fdatasync back, the data go where they always go."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from fstore.stack import EmbeddedServers

FLUSHES = "fsync,fdatasync"


def can_delay() -> bool:
    """Tell whether this machine has what is needed."""
    return shutil.which("strace") is not None


@contextmanager
def flushes_delayed(servers: EmbeddedServers, *, by_ms: float) -> Iterator[None]:
    """Run the same Postgres under strace for as long as the block lasts; only flushes are stopped, nothing else is traced."""
    strace = shutil.which("strace")
    assert strace is not None
    servers.stop_postgres()
    spec = servers.postgres.spec
    servers.postgres.spec = replace(
        spec,
        argv=(
            strace, "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null", "-e", f"trace={FLUSHES}",
            "-e", f"inject={FLUSHES}:delay_exit={round(by_ms * 1000)}", *spec.argv,
        ),
    )  # fmt: skip
    try:
        servers.start_postgres()
        yield
    finally:
        # strace passes no signal on; it ends when what it runs has ended.
        os.kill(int((spec.cwd / "postmaster.pid").read_text().split()[0]), signal.SIGINT)
        ended = servers.postgres.finish(within=60)
        servers.postgres.spec = spec
        servers.start_postgres()
        assert ended, "Postgres did not end under strace"
