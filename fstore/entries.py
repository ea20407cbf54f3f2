"""Reading an entry: every byte verified, a wrong one hidden and treated as a miss; a right one in the form that is wanted."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any

import pyarrow as pa

from fstore.errors import EntryCorrupt, ManifestUnavailable
from fstore.model import Locator
from fstore.resources import Resources
from fstore.results.forms import FORMS, Returns
from fstore.storage.local_cache import SMALL, Mapped

log = logging.getLogger("fstore.reading")


def read_entry(resources: Resources, found: Locator, *, is_own: bool = False) -> pa.Table | Mapped | None:
    """Return an entry's table, mapped where this host keeps a local tier, or None when its file is gone or wrong: ask again, it is a miss by then.

    A reader that lost the race against upkeep (row seen, file gone, another row or
    none by now) has found nothing wrong; any other fault is quarantined and counted.
    ``is_own`` says that this caller had it computed a moment ago: a small one then has
    to be asked for again before it is worth a place in the local tier.
    """
    tier = resources.local_tier
    if tier is None:
        return _read(resources, found)
    if is_own:
        table = _read(resources, found)
        return table if table is None or table.nbytes <= SMALL else tier.promote(found, table) or table
    if (mapped := tier.find(found)) is None:
        with tier.one_at_a_time(found.key):  # of many threads that were told at once, one reads
            if (mapped := tier.find(found)) is None:
                table = _read(resources, found)
                if table is None:
                    return None
                if table.nbytes > SMALL:
                    return tier.promote(found, table) or table
                tier.add(found, table)  # what is held already need not be mapped as well; the next hit does
                return table
    resources.recorder.used(found.key)
    return mapped


def _read(resources: Resources, found: Locator) -> pa.Table | None:
    try:
        table = resources.files.read(found)
    except EntryCorrupt as error:
        current = resources.manifest.find_live(found.key)
        if current is not None and current.path == found.path:
            hide(resources, error)
        return None
    resources.recorder.used(found.key)
    return table


def in_form(result: Any, returns: Returns) -> Any:
    """Return a table, a mapped entry or a bare result in the form that is wanted."""
    form = FORMS[returns]
    return result.in_form(form) if isinstance(result, Mapped) else form.of_result(result)


def hide(resources: Resources, error: EntryCorrupt) -> bool:
    """Quarantine an entry whose file is wrong: its row first, then the file; return whether this call did it."""
    with suppress(ManifestUnavailable):
        if resources.manifest.quarantine(error.key, error.path):
            resources.files.quarantine(error.path)
            resources.recorder.count("corrupt_detected")
            log.warning("quarantined: key=%s path=%s fault=%s", error.key[:12], error.path, error.fault)
            return True
    return False
