"""Lists what lies in the store folder, shard by shard, and removes what nobody needs.

Only names that fstore itself makes are ever listed for removal; a stranger's
file is counted and left alone.
"""

from __future__ import annotations

import os
import re
import stat
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fstore.errors import StorageUnavailable
from fstore.storage.folder import TEMPORARY
from fstore.storage.layout import FoundFile

SHARDS = tuple(f"{number:02x}" for number in range(256))
_ENTRY = re.compile(r"[0-9a-f]{64}\.[0-9A-Za-z-]+\.parquet")
_STAGED = re.compile(r"[0-9a-f]{64}(\.[0-9A-Za-z-]+\.parquet|\.arrow)")
_ASIDE = f"{TEMPORARY}aside-"


@dataclass(slots=True)
class Listing:
    """The files of one folder: published or staged ones, unfinished ones, and the number of those of unknown origin."""

    files: list[FoundFile] = field(default_factory=list)
    temporary: list[FoundFile] = field(default_factory=list)
    foreign: int = 0


class Inventory:
    """One store folder as upkeep sees it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def now_ns(self) -> int:
        """Return the time of the store's file system, read off a file just written there.

        Ages of files are differences of two readings of this one clock, so no other
        clock has to be right.
        """
        probe = self.root / f"{TEMPORARY}probe-{uuid.uuid4().hex}"
        try:
            with probe.open("xb") as file:
                file.write(b"?")
                file.flush()
                os.fsync(file.fileno())
            return probe.stat().st_mtime_ns
        except OSError as error:
            raise StorageUnavailable(str(self.root), f"cannot write a probe file: {error.strerror or error}") from error
        finally:
            probe.unlink(missing_ok=True)

    def shard(self, shard: str) -> Listing:
        """List ``entries/<shard>``; a folder that does not exist holds nothing."""
        return self._list(f"entries/{shard}", _ENTRY)

    def staged(self) -> Iterator[Listing]:
        """List the folders below ``staging``, one at a time, and unfinished files in the root."""
        for folder in ("staging/results", *(f"staging/raw/{shard}" for shard in SHARDS)):
            yield self._list(folder, _STAGED)
        yield Listing(temporary=self._list("", _STAGED).temporary)

    def quarantined(self) -> Listing:
        """List ``quarantine``; files there count as changed when they were moved there."""
        return self._list("quarantine", _ENTRY, moved=True)

    def exists(self, path: str) -> bool:
        """Return whether a file is there now, asking the folder anew; raises ``StorageUnavailable`` if nobody can tell."""
        try:
            (self.root / path).stat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageUnavailable(path, error.strerror or str(error)) from error
        return True

    def remove(self, path: str) -> bool:
        """Remove a file, and return whether this call did it; raises ``StorageUnavailable`` when it cannot be removed."""
        try:
            (self.root / path).unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageUnavailable(path, error.strerror or str(error)) from error
        return True

    def remove_unless_touched(self, file: FoundFile) -> bool:
        """Remove a file unless somebody marked it as used since it was listed; return whether it is gone.

        It is put aside first: whoever marks it afterwards finds it gone and writes it
        anew, instead of relying on a file that is about to vanish.
        """
        path = self.root / file.path
        aside = path.with_name(f"{_ASIDE}{uuid.uuid4().hex[:16]}")
        try:
            path.rename(aside)
            if aside.stat().st_mtime_ns > file.modified_ns:
                aside.rename(path)
                return False
            aside.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise StorageUnavailable(file.path, error.strerror or str(error)) from error
        return True

    def _list(self, folder: str, known: re.Pattern[str], *, moved: bool = False) -> Listing:
        listing = Listing()
        prefix = f"{folder}/" if folder else ""
        try:
            with os.scandir(self.root / folder) as found:
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
        except FileNotFoundError:
            return listing
        except OSError as error:
            raise StorageUnavailable(str(self.root / folder), error.strerror or str(error)) from error
        return listing
