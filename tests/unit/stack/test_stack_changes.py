"""What a supervisor makes of orders and edits, step by step and without processes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from fstore.errors import ConfigurationError
from fstore.stack.changes import ChangeMaker, Edits
from fstore.stack.layout import Layout
from fstore.stack.orders import Change, take
from fstore.stack.processes.watchdog import Watchdog
from tests.waiting import eventually

ORDER = Change("mark", restart=("compute",), features=("a.b",))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """The folders of a stack with one order waiting."""
    made = Layout(tmp_path)
    made.create()
    made.change.write_text(json.dumps(asdict(ORDER)))
    return made


def maker(layout: Layout, said: list[str], trial: Callable[[Change], Callable[[], tuple[Path, ...]]]) -> ChangeMaker:
    return ChangeMaker(
        layout, Watchdog(said.append), trial_of=trial, change=lambda _: [], say=said.append, reload=False
    )


def answered(layout: Layout) -> dict[str, object] | None:
    return json.loads(layout.answer.read_text()) if layout.answer.exists() else None


def test_an_order_is_taken_once(layout: Layout) -> None:
    """Whatever stands in the file is told once; what cannot be read is no order."""
    assert take(layout) == ORDER
    assert take(layout) is None
    for text in ("", "[]", "{}", '{"mark": 1, "surprise": 2}', "\0"):
        layout.change.write_text(text)
        assert take(layout) is None
        assert not layout.change.exists()


def test_a_change_is_answered_once_it_is_made(layout: Layout) -> None:
    """After the trial the change is made, and whoever asked is told that there was no fault."""
    said: list[str] = []
    changes = maker(layout, said, lambda _: tuple)

    def step() -> object:
        changes.look()
        return answered(layout)

    assert eventually(step, seconds=10, what="the answer") == {"mark": "mark", "faults": []}


def test_settings_that_became_wrong_stop_no_stack(layout: Layout) -> None:
    """The supervisor reads the settings anew; a fault in them is the answer, not its end."""

    def broken(_: Change) -> Callable[[], tuple[Path, ...]]:
        raise ConfigurationError(["lease_seconds is too short"])

    said: list[str] = []
    maker(layout, said, broken).look()

    assert answered(layout) == {"mark": "mark", "faults": ["lease_seconds is too short"]}
    assert said == ["nothing was restarted: lease_seconds is too short"]


def test_an_answer_that_cannot_be_written_stops_no_stack(layout: Layout) -> None:
    """On a full disk the stack goes on and says so in its log."""

    def broken(_: Change) -> Callable[[], tuple[Path, ...]]:
        layout.answer.mkdir()
        raise ConfigurationError(["anything"])

    said: list[str] = []
    maker(layout, said, broken).look()

    assert "could not be written" in said[-1]


def test_an_edit_counts_once_and_when_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is still being written is left alone; a removed and a new one are edits; a touched one too, once."""
    monkeypatch.setattr("fstore.stack.changes.LOOK_EVERY_SECONDS", 0.0)
    path = tmp_path / "alphas.py"
    path.write_text("a = 1\n")
    edits = Edits([path])
    assert not edits.found()

    path.write_text("a = 12\n")
    assert not edits.found(), "it may not be written to the end"
    path.write_text("a = 123\n")
    assert not edits.found(), "it was not"
    assert edits.found()
    assert not edits.found()

    path.unlink()
    assert [edits.found(), edits.found()] == [False, True]
    path.write_text("a = 123\n")
    os.utime(path, ns=(1, 1))
    assert [edits.found(), edits.found(), edits.found()] == [False, True, False]
