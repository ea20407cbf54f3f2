"""What a running stack is told to change.

A file that its supervisor takes up, and an answer beside it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fstore.errors import ConfigurationError
from fstore.stack.layout import Layout
from fstore.stack_state import StackState, is_alive, write_private

DONE_WITHIN_SECONDS = 240.0
LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Change:
    """Processes to restart, modules to serve besides those served, and whether to follow edits.

    None is as before.
    """

    mark: str
    restart: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    cwd: str = ""
    reload: bool | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a change: done, or why not."""

    mark: str
    faults: tuple[str, ...] = field(default=())


def send(layout: Layout, change: Change, *, state: StackState) -> None:
    """Tell the supervisor of ``state`` and wait until the change is made.

    Raises ``ConfigurationError`` that says why it is not. The folder is its owner's alone, so nobody else can give
    orders.
    """
    try:
        write_private(layout.change, json.dumps(asdict(change)))
    except PermissionError as exc:
        raise ConfigurationError(
            [f"the stack on {state.root} belongs to another user; change it as that user"]
        ) from exc
    deadline = time.monotonic() + DONE_WITHIN_SECONDS
    while time.monotonic() < deadline:
        answer = _read(layout.answer, Answer, "faults")
        if answer is not None and answer.mark == change.mark:
            if answer.faults:
                raise ConfigurationError(answer.faults)
            return
        if not is_alive(state):
            break
        time.sleep(LOOK_SECONDS)
    layout.change.unlink(missing_ok=True)
    raise ConfigurationError([f"the stack on {state.root} did not make the change; see {layout.log('supervisor')}"])


def take(layout: Layout) -> Change | None:
    """Return what the supervisor was told since the last look, or None; it is told once."""
    change: Change | None = _read(layout.change, Change, "restart", "features")
    layout.change.unlink(missing_ok=True)
    return change


def answer(layout: Layout, change: Change, *faults: str) -> None:
    """Say what became of a change."""
    write_private(layout.answer, json.dumps(asdict(Answer(change.mark, faults))))


def _read(path: Path, kind: Callable[..., Any], *tuples: str) -> Any:
    try:
        raw = json.loads(path.read_text())
        return kind(**{name: tuple(value) if name in tuples else value for name, value in raw.items()})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
