"""What runs on a root, checked against the processes themselves."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fstore.stack_state import StackState, is_alive, is_same, read_any_state

_PASSWORD = re.compile(r"(?<=:)[^:@/]+(?=@)")


@dataclass(frozen=True, slots=True)
class ChildStatus:
    """One child: ``alive`` was checked just now, the rest is what the supervisor noted."""

    name: str
    pid: int
    alive: bool
    phase: str
    restarts: int
    since: str
    log: str


@dataclass(frozen=True, slots=True)
class StackStatus:
    """A stack as it is now; addresses carry their passwords, ``masked`` hides them."""

    root: str
    running: bool
    phase: str
    pid: int
    started_ts: str
    workers: int
    features: tuple[str, ...]
    postgres_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    flower_url: str = field(repr=False)
    children: tuple[ChildStatus, ...]

    @property
    def is_healthy(self) -> bool:
        """Tell whether the stack is ready and every child runs."""
        return self.phase == "ready" and all(child.alive and child.phase == "running" for child in self.children)

    def as_dict(self, *, masked: bool = True) -> dict[str, Any]:
        """Return a form for JSON."""
        shown = asdict(self)
        if masked:
            for name in ("postgres_url", "redis_url", "flower_url"):
                shown[name] = mask(shown[name])
        return {**shown, "healthy": self.is_healthy}


def status(root: Path) -> StackStatus:
    """Return what runs on ``root``; a stack whose supervisor was killed counts as not running."""
    place = Path(root).expanduser().resolve()
    state = read_any_state(place)
    if state is None:
        return StackStatus(str(place), False, "stopped", 0, "", 0, (), "", "", "", ())
    alive = is_alive(state)
    return StackStatus(
        root=str(place),
        running=alive,
        phase=state.phase if alive else "killed",
        pid=state.pid,
        started_ts=state.started_ts,
        workers=state.workers,
        features=state.features,
        postgres_url=state.postgres_url,
        redis_url=state.redis_url,
        flower_url=state.flower_url,
        children=_children(state),
    )


def mask(url: str) -> str:
    """Hide the password in an address."""
    return _PASSWORD.sub("********", url)


def _children(state: StackState) -> tuple[ChildStatus, ...]:
    return tuple(
        ChildStatus(c.name, c.pid, is_same(c.pid, c.birth), c.phase, c.restarts, c.since, c.log) for c in state.children
    )
