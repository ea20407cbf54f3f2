"""Compares what the manifest says with what lies in the folder; touches neither."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fstore.storage.layout import FoundFile
from fstore.storage.verify import Fault, FaultKind

LOOKS_WRONG_SHARE = 0.05
LOOKS_WRONG_COUNT = 100


class Expected(Protocol):
    """What a row says of its file, ``path`` relative to the store's root; any record with these fields will do."""

    @property
    def key(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...


R = TypeVar("R", bound=Expected)


@dataclass(frozen=True, slots=True)
class Comparison(Generic[R]):
    """What one shard holds beside matching rows and files: rows without file, files of another size, files without row."""

    rows: int
    files: int
    lost: tuple[R, ...]
    wrong_size: tuple[tuple[R, FoundFile], ...]
    orphans: tuple[FoundFile, ...]

    def faults(self) -> tuple[Fault, ...]:
        """Return what is wrong with rows, in the words of a report."""
        missing = (Fault(row.key, row.path, FaultKind.MISSING, "there is no file") for row in self.lost)
        resized = (
            Fault(row.key, row.path, FaultKind.SIZE, f"{file.size_bytes} bytes instead of {row.size_bytes}")
            for row, file in self.wrong_size
        )
        return (*missing, *resized)


def compare(rows: Iterable[R], found: Iterable[FoundFile]) -> Comparison[R]:
    """Match rows with files, of one shard or of a whole store, in memory proportional to ``rows``.

    Rows have to be read *after* the files were listed, or a file whose row is
    just being inserted looks like an orphan; and a file that was published after
    the listing looks lost, so look again before believing it.
    """
    waiting = {row.path: row for row in rows}
    total_rows, files = len(waiting), 0
    wrong_size, orphans = [], []
    for file in found:
        files += 1
        row = waiting.pop(file.path, None)
        if row is None:
            orphans.append(file)
        elif row.size_bytes != file.size_bytes:
            wrong_size.append((row, file))
    lost = sorted(waiting.values(), key=lambda row: row.path)
    wrong_size.sort(key=lambda pair: pair[0].path)
    orphans.sort(key=lambda file: file.path)
    return Comparison(total_rows, files, tuple(lost), tuple(wrong_size), tuple(orphans))


def looks_wrong(*, orphans: int, lost: int, total_rows: int, total_files: int) -> str | None:
    """Return why the folder and the database seem not to belong together, or None when all looks ordinary.

    More than a twentieth and more than a hundred files without a row, or rows
    without a file, are the mark of an empty database, an unmounted folder or a
    restored backup, not of garbage.
    """
    if orphans > LOOKS_WRONG_COUNT and orphans > LOOKS_WRONG_SHARE * total_files:
        return f"{orphans} of {total_files} files have no row: the database may be empty, restored from a backup or another store's"
    if lost > LOOKS_WRONG_COUNT and lost > LOOKS_WRONG_SHARE * total_rows:
        return f"{lost} of {total_rows} entries have no file: the folder may be unmounted, emptied or another store's"
    return None
