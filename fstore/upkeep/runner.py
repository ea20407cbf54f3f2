"""One run at a time of each kind of upkeep, recorded in ``upkeep_runs`` whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from fstore.errors import UpkeepRefused
from fstore.postgres import Kind, Turn, UpkeepRuns


class RunReport(Protocol):
    """What a run tells about itself."""

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON."""
        ...


Progress = Callable[[str, int, int], None]
R = TypeVar("R", bound=RunReport)


def silent(phase: str, done: int, total: int) -> None:
    """Show nobody how far a run is."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A run that was not due, because another one runs or ended a moment ago."""

    kind: Kind
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON, with the totals that every reader of a collection's report looks for."""
        nothing = {"summary": {"total_files_deleted": 0, "total_bytes_freed": 0}} if self.kind == "gc" else {}
        return {"kind": self.kind, "skipped": self.reason, **nothing}


class RunLock:
    """The right to do one kind of upkeep for as long as the run lasts.

    Without a turn it runs beside others of the kind.
    """

    def __init__(self, runs: UpkeepRuns, turn: Turn | None, run_id: int, started_at: datetime) -> None:
        self._runs, self._turn = runs, turn
        self.run_id, self.started_at = run_id, started_at

    def check(self) -> None:
        """Make sure that nobody else can have started meanwhile; call it between batches.

        Prolongs the turn. Raises ``UpkeepRefused`` when its lease ran out and another run has begun.
        """
        if self._turn is not None:
            refuse_lost_turn(self._runs, self._turn)


def refuse_lost_turn(runs: UpkeepRuns, turn: Turn) -> None:
    """Raise ``UpkeepRefused`` when another run has begun since this turn was taken; otherwise prolong it."""
    if not runs.still_alone(turn):
        raise UpkeepRefused(
            "this run stood still for so long that another one began",
            "nothing was harmed; the next run goes on from here",
        )


def run_alone(runs: UpkeepRuns, kind: Kind, work: Callable[[RunLock], R], *, unless_within_s: float = 0) -> R | Skipped:
    """Do one run unless another process does it, and record its report.

    An error is recorded too, before it is raised. Skips when another run of the kind is going on, and when one
    ended within the last ``unless_within_s`` seconds: two schedulers that tick together, or messages that piled up,
    do the work once.
    """
    with runs.alone(kind) as turn:
        if turn is None:
            return Skipped(kind, "another run is going on")
        if unless_within_s > 0 and runs.ran_within(kind, unless_within_s):
            return Skipped(kind, f"a run ended less than {unless_within_s:g} s ago")
        return _recorded(runs, turn, kind, work)


def run_beside(runs: UpkeepRuns, kind: Kind, work: Callable[[RunLock], R]) -> R:
    """Do and record a run that changes nothing others could be in the way of."""
    return _recorded(runs, None, kind, work)


def _recorded(runs: UpkeepRuns, turn: Turn | None, kind: Kind, work: Callable[[RunLock], R]) -> R:
    run_id, started_at = runs.begin_run(kind)
    try:
        report = work(RunLock(runs, turn, run_id, started_at))
    except Exception as error:
        runs.finish_run(run_id, {"kind": kind, "error": type(error).__name__, "message": str(error)})
        raise
    runs.finish_run(run_id, report.as_dict())
    return report
