"""Files of several entries in a collection: what of each rows name, and which of them go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from fstore.errors import StorageUnavailable
from fstore.model import EntryState, ShardRow
from fstore.postgres import UpkeepQueries
from fstore.storage import EntryStore, FoundFile, file_of, packed_at, packed_name
from fstore.upkeep.collection.policy import Candidate, GarbagePolicy
from fstore.upkeep.collection.shard import Leftover, Why

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class PackUse:
    """A pack that was listed, and what of it rows name that were read afterwards.

    ``live`` counts those that answer.
    """

    file: FoundFile
    rows: int = 0
    bytes: int = 0
    live: int = 0
    is_pinned: bool = False
    created_at: datetime = _NEVER
    last_used_at: datetime = _NEVER

    def add(self, row: ShardRow) -> None:
        """Note a row that names it."""
        self.rows += 1
        self.bytes += row.size_bytes
        if row.state == EntryState.LIVE:
            self.live += 1
            self.is_pinned |= row.is_pinned
            self.created_at = max(self.created_at, row.created_at)
            self.last_used_at = max(self.last_used_at, row.last_used_at)

    def as_candidate(self) -> Candidate:
        """Return what eviction needs to know: a pack goes whole or not at all, since its bytes do."""
        path, size_bytes = self.file.path, self.file.size_bytes
        return Candidate(path, path, size_bytes, self.created_at, self.last_used_at, self.is_pinned)


class Packs:
    """The packs of a store, listed before any row is read, and what rows name of them."""

    def __init__(self) -> None:
        self._uses: dict[str, PackUse] = {}

    def add(self, files: Iterable[FoundFile]) -> None:
        """Note packs that were listed."""
        self._uses |= {file.path: PackUse(file) for file in files}

    def __contains__(self, path: str) -> bool:
        return path in self._uses

    def sizes(self) -> Mapping[str, int]:
        """Return the bytes of each pack, by its path."""
        return {path: use.file.size_bytes for path, use in self._uses.items()}

    def note(self, rows: Iterable[ShardRow]) -> tuple[list[ShardRow], list[ShardRow]]:
        """Note which packs some rows name, and return the rows with a file of their own.

        With them live rows whose pack was not listed.
        """
        single, lost = list[ShardRow](), list[ShardRow]()
        for row in rows:
            packed = packed_at(row.path)
            if packed is None:
                single.append(row)
            elif (use := self._uses.get(packed.path)) is not None:
                use.add(row)
            elif row.state == EntryState.LIVE:
                lost.append(row)
        return single, lost

    def candidates(self) -> Iterator[Candidate]:
        """Give the packs with entries that answer to the eviction policy; after all rows were noted."""
        return (use.as_candidate() for use in self._uses.values() if use.live)

    def unnamed(self) -> list[FoundFile]:
        """Return the packs that no row names; after all rows were noted."""
        return [use.file for use in self._uses.values() if not use.rows]

    def dead_bytes(self) -> int:
        """Return how many bytes of packs that rows name are nobody's any more."""
        return sum(use.file.size_bytes - use.bytes for use in self._uses.values() if use.rows)

    def inside(self, paths: Iterable[str], queries: UpkeepQueries) -> dict[str, list[Candidate]]:
        """Return what lies in those of some paths that are packs.

        Nothing of one that was used or pinned since it was chosen, for it stays whole.
        """
        inside: dict[str, list[Candidate]] = {path: [] for path in paths if path in self._uses}
        for row in queries.rows_of_packs([packed_name(path) for path in inside]) if inside else ():
            path = file_of(row.path)
            if row.is_pinned or row.last_used_at > self._uses[path].last_used_at:
                inside.pop(path, None)
            elif path in inside:
                inside[path].append(
                    Candidate(row.key, row.path, row.size_bytes, row.created_at, row.last_used_at, row.is_pinned)
                )
        return inside


def unheld_packs(
    packs: Sequence[FoundFile],
    entries: EntryStore,
    queries: UpkeepQueries,
    policy: GarbagePolicy,
    tell: Callable[[str], None],
) -> list[Leftover]:
    """Return those of some packs that no row names, and nobody may still publish or read.

    That is their results: a job may publish one, somebody be about to read one. One that cannot be read stays:
    ``tell`` is told, and the others go.
    """
    found: list[Leftover] = []
    named = queries.named_packs([packed_name(file.path) for file in packs]) if packs else set()
    for file in packs:
        if packed_name(file.path) in named:
            continue
        try:
            keys = entries.keys_in(file.path)
        except StorageUnavailable as error:
            tell(str(error))
            continue
        if keys is None or (keys and queries.unsettled_keys(keys, grace=policy.grace)):
            continue
        # Once more: a row that was inserted since the first look ended the job that the second one asked for.
        if not queries.named_packs([packed_name(file.path)]):
            found.append(Leftover(file, Why.SUPERSEDED if keys and queries.paths_of(keys) else Why.NO_ROW))
    return found
