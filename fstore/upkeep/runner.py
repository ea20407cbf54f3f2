"""One run at a time of each kind of upkeep, recorded in ``upkeep_runs`` whatever becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeVar

from fstore.errors import UpkeepRefused
from fstore.postgres import Kind, Session, UpkeepRuns


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
    """The right to do one kind of upkeep for as long as the run lasts; without a session, beside others of the kind."""

    def __init__(
        self, runs: UpkeepRuns, session: Session | None, kind: Kind, run_id: int, started_at: datetime
    ) -> None:
        self._runs, self._session, self._kind = runs, session, kind
        self.run_id, self.started_at = run_id, started_at

    def check(self) -> None:
        """Make sure that nobody else can have started meanwhile; call it between batches.

        Raises ``ManifestUnavailable`` when the lock's connection is gone, and the lock with it.
        """
        if self._session is not None and not self._runs.still_alone(self._session, self._kind):
            raise UpkeepRefused("the lock of this run was lost", "nothing was harmed; the next run goes on from here")


def run_alone(runs: UpkeepRuns, kind: Kind, work: Callable[[RunLock], R], *, unless_within_s: float = 0) -> R | Skipped:
    """Do one run unless another process does it, and record its report, or its error before that is raised.

    Skips when another run of the kind is going on, and when one ended within the
    last ``unless_within_s`` seconds: two schedulers that tick together, or messages
    that piled up, do the work once.
    """
    with runs.alone(kind) as session:
        if session is None:
            return Skipped(kind, "another run is going on")
        if unless_within_s > 0 and runs.ran_within(kind, unless_within_s):
            return Skipped(kind, f"a run ended less than {unless_within_s:g} s ago")
        return _recorded(runs, session, kind, work)


def run_beside(runs: UpkeepRuns, kind: Kind, work: Callable[[RunLock], R]) -> R:
    """Do and record a run that changes nothing others could be in the way of."""
    return _recorded(runs, None, kind, work)


def _recorded(runs: UpkeepRuns, session: Session | None, kind: Kind, work: Callable[[RunLock], R]) -> R:
    run_id, started_at = runs.begin_run(kind)
    try:
        report = work(RunLock(runs, session, kind, run_id, started_at))
    except Exception as error:
        runs.finish_run(run_id, {"kind": kind, "error": type(error).__name__, "message": str(error)})
        raise
    runs.finish_run(run_id, report.as_dict())
    return report
