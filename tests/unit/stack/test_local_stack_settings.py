"""What a process that finds a local stack is told, and what not."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from rich.console import RenderableType

from fstore.bootstrap import open_resources
from fstore.cli.commands.start.up import _ready
from fstore.cli.context import Call
from fstore.settings.loading import gather_settings
from fstore.stack import StackState, StackStatus

SERVERS = {"postgres_url": "postgresql://a:b@127.0.0.1:1/c", "redis_url": "redis://127.0.0.1:1/0"}
ABSENT = {"feature_modules": "no_such_features"}


@pytest.mark.parametrize("given_by", ["stack", "argument"])
def test_modules_of_the_stack_that_a_trainer_lacks_are_its_own_business(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, given_by: str
) -> None:
    """A trainer in another folder than ``fstore up`` is not warned of modules it never named; of those it named it is."""
    mine = ABSENT if given_by == "argument" else {}
    settings = gather_settings({"path": tmp_path, **SERVERS, **mine}, environ={}, stack=ABSENT)

    with caplog.at_level(logging.WARNING, logger="fstore.bootstrap"):
        open_resources(settings, role="trainer").close()

    assert ("no_such_features" in caplog.text) is (given_by == "argument")


@pytest.mark.parametrize(
    ("root", "command"),
    [(None, "'fstore down' stops it"), (Path("/data/a b"), "'fstore down --root '/data/a b'' stops it")],
)
def test_the_command_that_is_named_stops_this_very_stack(root: Path | None, command: str) -> None:
    """A stack that was started with --root is stopped with --root: without it another one would be."""
    status = StackStatus("/data/a b", True, "ready", 7, "", 1, (), "", "", "", ())
    state = StackState("/data/a b", "here", 7, "", "", "ready", "", 1, ())

    parts: tuple[RenderableType, ...] = _ready(Call(root=root), status, state)

    assert str(parts[-1]).endswith(command)
