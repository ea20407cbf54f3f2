"""What ``fstore up`` says at its end is what opens the store that it serves."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from fstore.cli.commands.start.up import _ready
from fstore.cli.context import Call
from fstore.stack.status_report import StackStatus


@pytest.mark.parametrize("path", ["/data/store", "s3://features/team-a"])
def test_the_store_is_named_and_not_where_its_stack_lies(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Of a bucket's store the servers lie in a folder of this host, which is no store: whoever opened that would share nothing."""
    stack = StackStatus("/data/store", True, "ready", 1, "now", 1, ("fstore.intraday",), "postgresql://x", "redis://x", "", ())  # fmt: skip
    monkeypatch.setenv("FEATURE_STORE_PATH", path)
    shown = _ready(Call(), stack, SimpleNamespace(flower_url=None, pid=os.getpid()))  # type: ignore[arg-type]
    assert f"fstore.connect({path!r}) uses it" in str(shown[1])
