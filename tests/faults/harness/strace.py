"""Runs one act of the product in a process under strace, with a failure, a death or a stop at a chosen syscall."""

from __future__ import annotations

import os
import re
import subprocess
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fstore import FeatureStore, FeatureStoreError
from fstore.bootstrap import load_settings, open_resources
from fstore.runtime.versions import library_versions
from tests.trainers import context
from tests.waiting import eventually

DONE, REFUSED, BROKEN = 0, 3, 4
"""How an act ended: it came to its end, raised one of fstore's errors, or raised anything else."""
KILLED = -9

FILE_CALLS = "openat,mkdir,write,pwrite64,fsync,fdatasync,rename,link,unlink,fchmod,read,pread64,close"
SERVER_CALLS = "sendto,recvfrom"

Act = Callable[..., None]
_LINE = re.compile(r"(?P<pid>\d+)\s+(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\)\s+=\s+(?P<result>.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(?P<rest>.*)")


@dataclass(frozen=True)
class Call:
    """One system call that ended: its arguments as strace shows them, paths of descriptors included."""

    pid: int
    name: str
    arguments: str
    result: str

    @property
    def went_well(self) -> bool:
        """Tell whether the kernel did what was asked."""
        return not self.result.startswith("-1") and "INJECTED" not in self.result


class Traced:
    """A process that waits to begin its act, and is watched by strace from then on."""

    def __init__(self, process: Any, gate: Any, strace: subprocess.Popen[bytes], log: Path) -> None:
        self.pid: int = process.pid
        self._process, self._gate, self._strace, self._log = process, gate, strace, log

    def go(self) -> None:
        """Let the act begin."""
        self._gate.set()

    def wait(self, *, seconds: float = 30) -> int:
        """Let the act begin if it has not, and return how the process ended."""
        self.go()
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"the traced process hung; the last calls: {self.calls()[-5:]}"
        self._strace.wait(10)
        return int(self._process.exitcode)

    def is_stopped(self) -> bool:
        """Tell whether a signal has stopped the process."""
        return "--- stopped by SIGSTOP ---" in self._log.read_text(errors="replace")

    def calls(self) -> list[Call]:
        """Return what was called so far, in the order of the ends."""
        return list(_parsed(self._log.read_text(errors="replace")))

    def was_hit(self) -> bool:
        """Tell whether the fault was injected at all; it was not when the act makes fewer such calls."""
        return "(INJECTED" in self._log.read_text(errors="replace") or self._process.exitcode == KILLED

    def close(self) -> None:
        """End both processes."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join(10)
        self._strace.kill()
        self._strace.wait(10)


@contextmanager
def traced(
    environment: Mapping[str, str],
    act: Act,
    *arguments: Any,
    folder: Path,
    calls: str = f"{FILE_CALLS},{SERVER_CALLS}",
    inject: str | None = None,
    path: Path | None = None,
) -> Iterator[Traced]:
    """Start a process that is about to run ``act(store, *arguments)``, under strace.

    The store is opened as workers open it. Everything is imported and connected before strace attaches, so that the first
    call it sees is the act's. ``inject`` is what follows ``-e inject=``, ``path``
    limits it to calls on that path. Counters of ``when=`` run for each thread and
    each name of a call.
    """
    log = folder / f"strace-{uuid.uuid4().hex[:8]}.log"
    starting = context()
    ready, gate = starting.Event(), starting.Event()
    process = starting.Process(target=_perform, args=(dict(environment), ready, gate, act, arguments), daemon=True)
    process.start()
    assert ready.wait(60), "the process to be traced did not get ready"
    limits = ["-P", str(path)] if path else []
    faults = ["-e", f"inject={inject}"] if inject else []
    strace = subprocess.Popen(
        ["strace", "-f", "-y", "-qq", "-s", "6000", "-o", str(log), *limits, "-e", f"trace={calls}", *faults,
         "-p", str(process.pid)]
    )  # fmt: skip
    running = Traced(process, gate, strace, log)
    try:
        eventually(lambda: _is_traced(process.pid, strace), seconds=20, what="strace to attach")
        yield running
    finally:
        running.close()


def _perform(environment: dict[str, str], ready: Any, gate: Any, act: Act, arguments: tuple[Any, ...]) -> None:
    os.environ.update(environment)
    store = FeatureStore.over(open_resources(load_settings(), role="worker"))
    store.resources.manifest.find_live("0" * 64)
    store.resources.redis_server.queue_length("fstore.compute")
    library_versions()
    ready.set()
    gate.wait(60)
    code = BROKEN
    try:
        act(store, *arguments)
        code = DONE
    except FeatureStoreError as error:
        print(f"refused: {error!r}", flush=True)
        code = REFUSED
    except BaseException:
        traceback.print_exc()
    os._exit(code)  # at once: what an orderly end calls is not part of the act


def _is_traced(pid: int, strace: subprocess.Popen[bytes]) -> bool:
    assert strace.poll() is None, f"strace ended with {strace.returncode}"
    return all(_status(task, "TracerPid") not in {"", "0"} for task in _threads(pid))


def _threads(pid: int) -> list[int]:
    return [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]


def _status(pid: int, field: str) -> str:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(f"{field}:")), "")


def _parsed(text: str) -> Iterator[Call]:
    begun: dict[int, str] = {}
    for line in text.splitlines():
        if (found := _LINE.match(line)) is None:
            continue
        pid, rest = int(found["pid"]), found["rest"]
        if rest.endswith("<unfinished ...>"):
            begun[pid] = rest.removesuffix("<unfinished ...>")
            continue
        if resumed := _RESUMED.match(rest):
            rest = begun.pop(pid, "") + resumed["rest"]
        if call := _CALL.match(rest):
            yield Call(pid, call["name"], call["arguments"], call["result"])


def awaited_stop(running: Traced) -> None:
    """Let the act begin, and wait until the injected signal has stopped it."""
    running.go()
    eventually(running.is_stopped, seconds=20, what="the traced process to be stopped")
