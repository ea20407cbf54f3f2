"""Folders for copies of objects: who holds one, and who removes what nobody holds."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from fstore.fingerprint.remote import scratch
from fstore.fingerprint.remote.scratch import Scratch


def test_a_folder_that_is_being_made_is_nobodys_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may look for what nobody holds at the very moment before it is held."""
    lock, looked = fcntl.flock, []

    def late(descriptor: int, how: int) -> None:
        if not looked:
            looked.append(True)
            for home in tmp_path.iterdir():
                scratch._sweep(home)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    made = Scratch(tmp_path)

    assert looked
    assert made.folder.is_dir()
    made.close()


def test_a_folder_that_nobody_holds_is_removed_by_the_next(tmp_path: Path) -> None:
    """What a killed process left does not stay for ever."""
    held = Scratch(tmp_path)
    left = held.folder.parent / "s-left"
    left.mkdir()
    (left / ".held").touch()

    other = Scratch(tmp_path)

    assert not left.exists()
    assert held.folder.is_dir()
    held.close()
    other.close()
    assert list(held.folder.parent.iterdir()) == []
