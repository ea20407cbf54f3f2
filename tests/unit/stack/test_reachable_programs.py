"""Programs in private folders are copied for the servers' account, once, whoever else copies them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from fstore.stack.processes.os_user import Account
from fstore.stack.servers.binaries import reachable


def test_two_processes_that_copy_at_once_share_one_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Test runs, demos and stacks start side by side on a new machine; nobody's half is left."""
    tree, cache = tmp_path / "package" / "pginstall", tmp_path / "cache"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "postgres").write_text("a program")
    account = Account("nobody", 65534, 65534)
    monkeypatch.setattr(Account, "can_run", lambda _, program: program.is_relative_to(cache))
    copytree, others = shutil.copytree, []

    def copied_by_both(*given: Any, **options: Any) -> Any:
        if not others:
            others.append(None)
            others.append(reachable(tree / "bin" / "postgres", tree, account, cache))
        return copytree(*given, **options)

    monkeypatch.setattr(shutil, "copytree", copied_by_both)

    mine = reachable(tree / "bin" / "postgres", tree, account, cache)

    assert others == [None, mine]
    assert mine.read_text() == "a program"
    assert len(list(cache.iterdir())) == 1
