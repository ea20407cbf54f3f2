"""The root of a store in a folder: how it comes into being, what id it has, its clock and its room."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from fstore.errors import StorageFull, StorageUnavailable, StoreMismatch
from fstore.storage import layout
from fstore.storage.durable import make_folder, make_one_folder, translated, write_durably
from fstore.storage.file_system import sync_folder, unlink, user
from fstore.storage.folder.listing import time_of
from fstore.storage.interface import Capabilities, Condition, Space
from fstore.storage.layout import SHARDS

CLOCK_STEP_S = 0.02  # the kernel's ticks, by which file systems that do not ask a server keep time


class FolderRoot:
    """What of a store in a folder is no single entry."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.capabilities = Capabilities(location=str(root), folder=root, clock_step_s=CLOCK_STEP_S)

    def create(self, store_id: str) -> None:
        """Make the folders and write the id, unless they are there."""
        root = self._root
        with translated(root):
            for folder in (layout.ENTRIES, layout.STAGED_RAW, layout.STAGED_RESULTS, layout.QUARANTINE):
                make_folder(root / folder)
            entries = root / layout.ENTRIES
            for shard in SHARDS:  # all at once, so that no publish has to make one durable first
                with suppress(FileExistsError):
                    make_one_folder(entries / shard)
            sync_folder(entries)
            packs = root / layout.PACKS
            make_folder(packs)
            for group in layout.PACK_GROUPS:
                with suppress(FileExistsError):
                    make_one_folder(packs / group)
            sync_folder(packs)
            marker = root / layout.STORE_ID
            if not marker.exists():
                mine = marker.with_name(f"{layout.TEMPORARY}{uuid.uuid4().hex}")
                write_durably(mine, store_id.encode())
                with suppress(FileExistsError):  # two that start at once: the first one's word counts
                    os.link(mine, marker)
                unlink(mine)
                sync_folder(root)
        self.check_identity(store_id)

    def identity(self) -> str:
        """Return the store's id, empty when it has none."""
        try:
            return (self._root / layout.STORE_ID).read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise StorageUnavailable(str(self._root), str(error)) from error

    def check_identity(self, store_id: str) -> None:
        """Make sure that the store has this id."""
        if (found := self.identity()) != store_id:
            raise StoreMismatch(str(self._root), found, store_id)

    def now_ns(self) -> int:
        """Return the time of the folder's file system."""
        return time_of(self._root)

    def space(self) -> Space | None:
        """Return the room on the folder's disk."""
        try:
            found = shutil.disk_usage(self._root)
        except OSError:
            return None
        return Space(found.free, found.total)

    def diagnose(self) -> Iterator[Condition]:
        """Tell whether the folder is there and who may write in it."""
        root = self._root
        try:
            time_of(root, must_hold=True)
            mode = root.stat().st_mode
        except (OSError, StorageUnavailable) as error:
            if not os.path.exists(root):  # noqa: PTH110 never raises
                advice = "run 'fstore migrate', or 'fstore up' for a local stack"
                yield Condition("fault", f"{root} does not exist", advice)
            elif isinstance(error, StorageFull):
                yield Condition(
                    "fault", str(error), f"make room on the disk of {root}, or mount it so that it can be written"
                )
            else:
                yield Condition("fault", str(error), f"give this user the right to write in {root}")
            return
        if mode & 0o002 and os.name == "posix":  # elsewhere the mode says nothing of others
            yield Condition("warning", f"everybody may write in {root}", f"chmod o-w {root}")
        else:
            yield Condition("ok", f"{root} can be written by {user()}")
