"""Processes of a benchmark's own: orders as JSON lines on stdin, findings as JSON lines on stdout, starts in step."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from harness.stand import BENCH

LEAD_S = 0.2  # orders reach everybody before anybody begins


class Part:
    """One process, and what is said to and by it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def order(self, **order: Any) -> None:
        """Say what to do next."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def finding(self) -> Any:
        """Return what it found, once it is there."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a part of the benchmark ended early, with exit code {self._process.wait(10)}")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def crew(suite: str, count: int, environment: Mapping[str, str]) -> Iterator[list[Part]]:
    """Run a suite's ``be_part`` in several processes, ready for orders; none of them outlives the block."""
    parts: list[Part] = []
    try:
        for number in range(count):
            command = [*command_of(suite), "--part", str(number)]
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            parts.append(Part(process))
        for part in parts:
            part.finding()
        yield parts
    finally:
        for part in parts:
            part.close()


def run_alone(suite: str, what: str, *words: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a suite's ``alone(what, *words)`` in a process that does nothing else, and return what it found."""
    command = [*command_of(suite), "--alone", what, *words]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{what} of {suite}.py failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def command_of(suite: str) -> list[str]:
    """Return how a suite is started."""
    return [sys.executable, str(BENCH / f"{suite}.py")]


def together(parts: Sequence[Part], **order: Any) -> list[Any]:
    """Give all parts the same order, to begin at the same moment, and return what each found."""
    at = time.monotonic() + LEAD_S
    for part in parts:
        part.order(at=at, **order)
    return [part.finding() for part in parts]


def serve(act: Callable[..., Any]) -> int:
    """Be a part: do what is ordered, one after the other, until there are no more orders."""
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        at = order.pop("at")
        # CLOCK_MONOTONIC is one clock for all processes of a machine.
        print(json.dumps(act(wait=lambda at=at: time.sleep(max(0.0, at - time.monotonic())), **order)), flush=True)
    return 0
