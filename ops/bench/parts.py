"""Processes of a benchmark's own: orders as JSON lines on stdin, findings as JSON lines on stdout, starts in step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from stand import HERE

LEAD_S = 0.2  # orders reach everybody before anybody begins


class Part:
    """One process, and what is said to and by it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

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
def crew(script: str, count: int, environment: Mapping[str, str]) -> Iterator[list[Part]]:
    """Run a script's ``--part`` in several processes, ready for orders; none of them outlives the block."""
    parts: list[Part] = []
    try:
        for number in range(count):
            parts.append(
                Part(
                    subprocess.Popen(
                        [sys.executable, str(HERE / script), "--part", str(number)],
                        env={**os.environ, **environment},
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        text=True,
                    )
                )
            )
        for part in parts:
            part.finding()
        yield parts
    finally:
        for part in parts:
            part.close()


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


def part_number() -> int | None:
    """Return which part this process is asked to be, None when it is the benchmark itself."""
    return int(sys.argv[sys.argv.index("--part") + 1]) if "--part" in sys.argv else None
