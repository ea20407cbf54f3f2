"""Reading an entry: every byte verified, a wrong one hidden and treated as a miss.

A right one is given in the form that is wanted.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa

from fstore.errors import EntryCorrupt, InvalidRequest, ManifestUnavailable
from fstore.model import Locator
from fstore.postgres import Manifest
from fstore.projection import DamagedFile, NoDigests, Selection, Tail, VerifiedFile
from fstore.resources import Resources
from fstore.results import FORMS, Returns
from fstore.runtime.counters import Recorder
from fstore.storage import SMALL, ByteRange, EntryStore, FaultKind, MappedEntry, rows_fault

log = logging.getLogger("fstore.reading")

_INDEX = Selection(columns=())


def read_entry(resources: Resources, found: Locator, *, is_own: bool = False) -> pa.Table | MappedEntry | None:
    """Return an entry's table, mapped where this host keeps a local cache; None when it is no more.

    Its file was gone or wrong: who asks again meets a miss. A reader that lost the race
    against upkeep (row seen, file gone, another row or none by now) has found nothing wrong;
    any other fault is quarantined and counted. Raises ``StoreMismatch`` where a file is
    missing since the place is another store's, or none. ``is_own`` says that this caller had it
    computed a moment ago: a small one then has to be asked for again before it is worth a
    place in the local cache.
    """
    cache = resources.local_cache
    if cache is None:
        return _read(resources, found)
    if is_own and not (cache.downloads_once and found.file_size_bytes > SMALL):
        table = _read(resources, found)
        return table if table is None or table.nbytes <= SMALL else cache.promote(found, table) or table
    if (mapped := cache.find(found)) is None:
        with cache.one_reader(found):  # of many that were told at once, one reads
            if (mapped := cache.find(found)) is None:
                table = _read(resources, found)
                if table is None:
                    return None
                if table.nbytes > SMALL:
                    return cache.promote(found, table) or table
                cache.add(found, table)  # what is held already need not be mapped as well; the next hit does
                return table
    resources.recorder.used(found.key)
    return mapped


def read_part(resources: Resources, found: Locator, wanted: Selection) -> pa.Table | MappedEntry | None:
    """Return a part of an entry, every byte that it was made of verified; None as ``read_entry`` does.

    What the local cache holds is taken from there, over its pages; what it does not hold is not put there
    for a part of it. Raises ``InvalidRequest`` for columns or times that the result has not.
    """
    cache = resources.local_cache
    if cache is not None and (mapped := cache.find(found)) is not None:
        resources.recorder.used(found.key)
        return mapped.part(wanted, wanted.of)
    if found.tail_bytes is None or found.tail_digest is None or found.file_size_bytes <= SMALL:
        table = _read(resources, found)
        return None if table is None else wanted.of(table)
    try:
        part = _read_part(resources.entries, found, Tail(found.tail_bytes, found.tail_digest), wanted)
    except EntryCorrupt as error:
        _found_wrong(resources, found, error)
        return None
    if part is not None:
        resources.recorder.used(found.key)
        return part
    table = _read(resources, found)
    return None if table is None else wanted.of(table)


def read_wanted(
    resources: Resources, found: Locator, wanted: Selection | None, *, is_own: bool = False
) -> pa.Table | MappedEntry | None:
    """Return an entry, or the part of it that is wanted; None when it is no more."""
    return read_entry(resources, found, is_own=is_own) if wanted is None else read_part(resources, found, wanted)


def read_relative(resources: Resources, found: Locator) -> pa.Table | None:
    """Return an entry to copy from, verified like every read but not counted as its use.

    None when it is gone or wrong.
    """
    try:
        return resources.entries.read(found)
    except EntryCorrupt as error:
        _found_wrong(resources, found, error)
        return None


def read_notes(resources: Resources, found: Locator) -> pa.Table | None:
    """Return what tells of an entry what its result says of itself; not counted as its use.

    Of a large one its index alone is read.
    """
    if found.tail_bytes is not None and found.tail_digest is not None and found.file_size_bytes > SMALL:
        with suppress(EntryCorrupt, InvalidRequest):  # which reading all of it finds, and hides
            index = _read_part(resources.entries, found, Tail(found.tail_bytes, found.tail_digest), _INDEX)
            if index is not None and index.num_rows == found.rows:
                return index
    return read_relative(resources, found)


def _read_part(entries: EntryStore, found: Locator, tail: Tail, wanted: Selection) -> pa.Table | None:
    """Read a part; None where that takes the whole, for notes in it, want of digests, or damage."""

    def read_ranges(ranges: Sequence[tuple[int, int]]) -> list[pa.Buffer]:
        return entries.read_ranges(found, [ByteRange(*each) for each in ranges])

    try:
        file = VerifiedFile(read_ranges, found.file_size_bytes, tail)
        if (fault := rows_fault(found, file.rows)) is not None:
            raise fault.as_error()
        return file.select(wanted)
    except NoDigests:
        return None
    except DamagedFile as error:
        log.info("a part is damaged, the whole is read: key=%s fault=%s", found.key[:12], error)
        return None  # it may have been the wire: reading the whole, which judges every byte, knows


def _read(resources: Resources, found: Locator) -> pa.Table | None:
    try:
        table = resources.entries.read(found)
    except EntryCorrupt as error:
        _found_wrong(resources, found, error)
        return None
    resources.recorder.used(found.key)
    return table


def _found_wrong(resources: Resources, found: Locator, error: EntryCorrupt) -> None:
    current = resources.manifest.find_live(found.key)
    if current is not None and current.path == found.path:
        if error.fault.startswith(FaultKind.MISSING):  # of a place that is another's, nothing says anything
            resources.entries.check_identity(resources.manifest.store_identity()[0])
        quarantine_entry(resources.manifest, resources.entries, resources.recorder, found, error.fault)


def in_form(result: Any, returns: Returns) -> Any:
    """Return a table, a mapped entry or a bare result in the form that is wanted."""
    form = FORMS[returns]
    return result.in_form(form) if isinstance(result, MappedEntry) else form.of_result(result)


def quarantine_entry(manifest: Manifest, entries: EntryStore, recorder: Recorder, found: Locator, fault: str) -> bool:
    """Hide an entry whose file is wrong: its row first, then the file; return whether this call did it.

    While the manifest is away nothing is done: whoever meets the entry next finds the same.
    """
    with suppress(ManifestUnavailable):
        if manifest.quarantine(found.key, found.path):
            entries.quarantine(found)
            recorder.count("corrupt_detected")
            log.warning("quarantined: key=%s path=%s fault=%s", found.key[:12], found.path, fault)
            return True
    return False
