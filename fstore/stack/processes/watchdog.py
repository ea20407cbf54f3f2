"""Keep a set of children running: notice ends, start again with growing pauses, give up at last."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from fstore.stack.processes.children import Child, ChildSpec
from fstore.stack.processes.restarts import RestartRecord


@dataclass(slots=True)
class _Watched:
    child: Child
    record: RestartRecord = field(default_factory=RestartRecord)
    restart_at: float = 0.0
    ready_at: float | None = None
    replaced_by: ChildSpec | None = None
    kill_at: float = 0.0


class Watchdog:
    """The children of one stack and how each of them fared."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._watched: list[_Watched] = []

    @property
    def children(self) -> tuple[Child, ...]:
        """All children, in the order they were added."""
        return tuple(watched.child for watched in self._watched)

    def add(self, child: Child) -> None:
        """Watchdog a child from now on, running or only started."""
        ready = child.phase == "running"
        self._watched.append(
            _Watched(child, RestartRecord(was_ready=ready), ready_at=time.monotonic() if ready else None)
        )

    def replace(self, spec: ChildSpec) -> None:
        """Stop the child of this name in order and start it again as ``spec`` says; ``look`` sees to it."""
        for watched in self._watched:
            if watched.child.spec.name == spec.name:
                watched.replaced_by, watched.kill_at = spec, time.monotonic() + watched.child.spec.stop_grace
                watched.child.ask_to_stop()

    def replacing(self) -> tuple[str, ...]:
        """Name the children that are to be replaced, or are not ready after it."""
        return tuple(
            watched.child.spec.name
            for watched in self._watched
            if watched.replaced_by is not None or watched.child.phase in ("starting", "waiting")
        )

    def all_ready(self) -> bool:
        """Tell whether every child is ready at this moment."""
        return all(child.phase == "running" for child in self.children)

    def look(self, *, starting: bool) -> bool:
        """Look at every child once, and start again what is due; True when something changed.

        Raises ``ConfigurationError`` with the end of a log when a child is given
        up that the stack cannot do without; while ``starting`` that is any child.
        """
        before = [(child.phase, child.pid) for child in self.children]
        for watched in self._watched:
            self._look_at(watched, starting=starting)
        return before != [(child.phase, child.pid) for child in self.children]

    def _look_at(self, watched: _Watched, *, starting: bool) -> None:
        child = watched.child
        if watched.replaced_by is not None:
            self._replace(watched, watched.replaced_by)
        elif child.phase == "waiting":
            if time.monotonic() >= watched.restart_at:
                child.restarts += 1
                child.start()
                self._say(f"{child.spec.name} was started again (restart {child.restarts})")
        elif child.phase in ("starting", "running") and child.has_ended():
            self._ended(watched, f"ended ({child.exit_text()})", starting=starting)
        elif child.phase == "starting":
            if child.spec.is_ready(child):
                child.enter("running")
                watched.record, watched.ready_at = watched.record.after_ready(), time.monotonic()
            elif time.monotonic() - child.started_at > child.spec.ready_within:
                child.finish(within=0)
                self._ended(watched, f"was not ready within {child.spec.ready_within:.0f} s", starting=starting)

    def _replace(self, watched: _Watched, spec: ChildSpec) -> None:
        child = watched.child
        if not child.has_ended() and time.monotonic() < watched.kill_at:
            return
        child.finish(within=0)
        child.spec, watched.replaced_by = spec, None
        watched.record, watched.ready_at = RestartRecord(was_ready=True), None  # asked for: no fault of the child
        child.start()
        self._say(f"{spec.name} was restarted")

    def _ended(self, watched: _Watched, what: str, *, starting: bool) -> None:
        child = watched.child
        if watched.ready_at is None:
            child.spec.mend(child)
        ran = 0.0 if watched.ready_at is None else time.monotonic() - watched.ready_at
        watched.record, watched.ready_at = watched.record.after_end(ready_for_seconds=ran), None
        delay = watched.record.delay_seconds()
        self._say(f"{child.spec.name} {what}")
        if delay is not None:
            watched.restart_at = time.monotonic() + delay
            child.enter("waiting")
            return
        child.enter("given up")
        failure = child.describe_failure(
            f"{what}, {watched.record.ends_in_a_row} times in a row; it is not started again"
        )
        if starting or child.spec.essential:
            raise failure
        self._say(str(failure))
