"""Runs the demo's trainers side by side, opens their gates, and gathers what they report."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fstore.cli.demo.peer import GATE

STALLED_AFTER_S = 300.0


@dataclass(slots=True)
class RaceResults:
    """What the trainers reported; requests nobody reported on count as failed."""

    requests: int
    answered: int = 0
    succeeded: int = 0
    wrong: int = 0
    hits_ms: list[float] = field(default_factory=list)
    misses_ms: list[float] = field(default_factory=list)
    peers_ms: list[float] = field(default_factory=list)  # the hits once more, by joblib.Memory
    troubles: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Requests that ended with an error, or not at all."""
        return self.requests - self.succeeded - self.wrong

    def add(self, report: Mapping[str, Any]) -> None:
        """Add the report on one request."""
        self.answered += 1
        if "error" in report:
            self.troubles.append(report["error"])
            return
        (self.hits_ms if report["how"] == "hit" else self.misses_ms).append(report["ms"])
        if report["wrong"] is None:
            self.succeeded += 1
        else:
            self.wrong += 1
            self.troubles.append(f"a wrong frame: {report['wrong']}")


class Race:
    """Trainer processes, from their start until the last one has ended."""

    def __init__(self, processes: Sequence[subprocess.Popen[str]], log: Path) -> None:
        self._processes, self._log = processes, log
        self._events: queue.SimpleQueue[tuple[int, Mapping[str, Any] | None]] = queue.SimpleQueue()

    def run(self, jobs: Sequence[Mapping[str, Any]], on_report: Callable[[RaceResults], None]) -> RaceResults:
        """Give every trainer its job and wait until all have ended.

        ``on_report`` is called after every request.
        """
        results = RaceResults(sum(len(job["steps"]) for job in jobs))
        coming: dict[str, set[int]] = defaultdict(set)
        for number, (process, job) in enumerate(zip(self._processes, jobs, strict=True)):
            for step in job["steps"]:
                if step["gate"]:
                    coming[step["gate"]].add(number)
            if job["peer"] is not None:
                coming[GATE].add(number)
            self._say(process, job)
            threading.Thread(target=self._listen, args=(number, process.stdout), daemon=True).start()
        waiting: dict[str, set[int]] = defaultdict(set)
        running = set(range(len(self._processes)))
        while running:
            try:
                number, report = self._events.get(timeout=STALLED_AFTER_S)
            except queue.Empty:
                results.troubles.append(f"no trainer reported anything for {STALLED_AFTER_S:.0f} s")
                return results
            if report is None:
                running.discard(number)
                self._note_end(number, results)
            elif "at" in report:
                waiting[report["at"]].add(number)
            elif "peer_ms" in report:
                results.peers_ms += report["peer_ms"]
            else:
                results.add(report)
                on_report(results)
            # A trainer that died must not keep the others waiting.
            for gate in [gate for gate, there in waiting.items() if coming[gate] & running <= there]:
                for ready in waiting.pop(gate):
                    self._say(self._processes[ready], {"pass": gate})
        return results

    def _listen(self, number: int, reports: IO[str] | None) -> None:
        for line in reports or ():
            self._events.put((number, json.loads(line)))
        self._events.put((number, None))

    def _note_end(self, number: int, results: RaceResults) -> None:
        code = self._processes[number].wait()
        if code != 0:
            end = self._log.read_text(errors="replace")[-2000:].strip()
            results.troubles.append(f"trainer {number} ended with exit code {code}; the end of its log:\n{end}")

    def _say(self, process: subprocess.Popen[str], message: Mapping[str, Any]) -> None:
        with suppress(BrokenPipeError):  # it died; its end is reported
            if process.stdin is not None:
                process.stdin.write(json.dumps(message) + "\n")
                process.stdin.flush()


@contextmanager
def trainers(number: int, environment: Mapping[str, str], log: Path) -> Iterator[Race]:
    """Start trainer processes that wait for their jobs; none of them outlives the block."""
    processes: list[subprocess.Popen[str]] = []
    try:
        with log.open("ab") as errors:
            for _ in range(number):
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-P", "-m", "fstore.cli.demo.trainer"],
                        env=dict(environment),
                        stdin=subprocess.PIPE,
                        stdout=subprocess.PIPE,
                        stderr=errors,
                        text=True,
                        encoding="utf-8",
                        start_new_session=True,  # Ctrl-C reaches the demo alone, which then ends them
                    )
                )
        yield Race(processes, log)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
