"""A store folder that a group shares: who is in the group writes beside the others, whatever the umask of each."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from fstore.storage import layout
from fstore.storage.durable import make_folder
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.folder.staging import FolderStaging


@pytest.fixture
def narrow() -> Iterator[None]:
    """A process that gives its group nothing by itself."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def folders_below(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_dir()}


def test_every_folder_of_a_shared_store_is_the_groups(tmp_path: Path, narrow: None) -> None:
    """Folders made at the first start, for staging and for quarantine hand on the group and what it may do."""
    root = tmp_path / "store"
    root.mkdir()
    root.chmod(0o2770)
    FolderEntries(root).create("an-id")
    digest = "ab" + "0" * 62
    staging = FolderStaging(root)
    raw = staging.write(digest, pa.table({"x": [1]}))
    result = staging.write_result("key", pa.table({"x": [1]}))

    assert [oct((root / path).stat().st_mode & 0o777) for path in (raw, result)] == ["0o440", "0o440"]
    found = folders_below(root)
    assert f"{layout.STAGED_RAW}/{layout.shard_of(digest)}" in found
    assert {name: oct(mode) for name, mode in found.items() if mode & 0o2070 != 0o2070} == {}
    assert not any(mode & 0o007 for mode in found.values())


def test_a_folder_that_nobody_shares_stays_private(tmp_path: Path, narrow: None) -> None:
    """Without the set-group-id bit above, the umask has the word, even where the group may write above."""
    tmp_path.chmod(0o770)
    make_folder(tmp_path / "store" / "entries")
    assert {oct(mode) for mode in folders_below(tmp_path).values()} == {"0o700"}
