"""Lists the folders of a store, and removes files from them.

Only names that fstore itself makes are ever listed for removal; a stranger's
file is counted and left alone.
"""

from __future__ import annotations

import os
import re
import stat
import uuid
from contextlib import suppress
from pathlib import Path

from fstore.errors import StorageUnavailable
from fstore.storage.durable import FULL, translated
from fstore.storage.file_system import unlink
from fstore.storage.interface import Listing
from fstore.storage.layout import TEMPORARY, FoundFile

_ASIDE = f"{TEMPORARY}aside-"


def inside(root: Path, path: str) -> Path:
    """Resolve a path relative to the root; raises ``StorageUnavailable`` if it leads outside."""
    resolved = (root / path).resolve()
    if not resolved.is_relative_to(root.resolve()):
        raise StorageUnavailable(path, "leads outside the store folder")
    return resolved


def time_of(root: Path, *, must_hold: bool = False) -> int:
    """Return the time of a folder's file system, read off a file just written there.

    Ages of files are differences of two readings of this one clock, so no other
    clock has to be right. A file without a byte has that time as well, so that a full
    disk can be told what may be deleted; with ``must_hold`` it is an error.
    """
    probe = root / f"{TEMPORARY}probe-{uuid.uuid4().hex}"
    try:
        with translated(root):
            with probe.open("xb", buffering=0) as file:
                try:
                    file.write(b"?")
                    os.fsync(file.fileno())
                except OSError as error:
                    if must_hold or error.errno not in FULL:
                        raise
            return probe.stat().st_mtime_ns
    finally:
        with suppress(OSError):  # what stays is collected
            unlink(probe, missing_ok=True)


def is_there(root: Path, path: str) -> bool:
    """Return whether a file is there now; raises ``StorageUnavailable`` if nobody can tell."""
    with translated(path):
        try:
            (root / path).stat()
        except FileNotFoundError:
            return False
        return True


def remove(root: Path, path: str) -> bool:
    """Remove a file, and return whether this call did it.

    Raises ``StorageUnavailable`` when it cannot be removed.
    """
    with translated(path):
        try:
            unlink(root / path)
        except FileNotFoundError:
            return False
        return True


def remove_unless_touched(root: Path, file: FoundFile) -> bool:
    """Remove a file unless somebody marked it as used since it was listed; return whether it is gone.

    It is put aside first: whoever marks it afterwards finds it gone and writes it
    anew, instead of relying on a file that is about to vanish.
    """
    path = root / file.path
    aside = path.with_name(f"{_ASIDE}{uuid.uuid4().hex[:16]}")
    with translated(file.path):
        try:
            path.replace(aside)
            if aside.stat().st_mtime_ns > file.modified_ns:
                aside.replace(path)
                return False
            unlink(aside)
        except FileNotFoundError:
            return False
        return True


def list_folder(root: Path, folder: str, known: re.Pattern[str], *, moved: bool = False) -> Listing:
    """List one folder; with ``moved`` files count as changed when they came there."""
    listing = Listing()
    prefix = f"{folder}/" if folder else ""
    with translated(root / folder):
        try:
            found = os.scandir(root / folder)
        except FileNotFoundError:
            return listing
        with found:
            for item in found:
                try:
                    about = item.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # finished or removed while we looked
                name = item.name
                changed_ns = max(about.st_mtime_ns, about.st_ctime_ns) if moved else about.st_mtime_ns
                if not stat.S_ISREG(about.st_mode):
                    listing.foreign += 1
                elif known.fullmatch(name):
                    listing.files.append(FoundFile(prefix + name, about.st_size, changed_ns))
                elif name.startswith(TEMPORARY):
                    listing.temporary.append(FoundFile(prefix + name, about.st_size, changed_ns))
                else:
                    listing.foreign += 1
    return listing
