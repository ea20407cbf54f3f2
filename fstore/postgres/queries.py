"""SQL lies in files of its own, as named statements.

Which columns they select and how rows are read follows from the records.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib import resources
from typing import Any, Generic, TypeVar

from fstore.model import Entry, FailureNote, Job, Locator
from fstore.records import flat_names, is_plain, unflat

Row = tuple[Any, ...]
T = TypeVar("T")


class Columns(Generic[T]):
    """The columns that make a record, one a field and under its name.

    ``read_as`` names what is selected instead of the column of a field's name,
    ``without`` the fields that are left at their defaults.
    """

    def __init__(
        self, record: type[T], *, table: str = "", read_as: Mapping[str, str] | None = None, without: Sequence[str] = ()
    ) -> None:
        self._record = record
        self._is_plain = is_plain(record) and not without
        self.names = tuple(name for name in flat_names(record) if name not in without)
        self.selected = ", ".join((read_as or {}).get(name) or table + name for name in self.names)

    def read(self, row: Row) -> T:
        """Return the record that a row of these columns holds."""
        if self._is_plain:  # the locator of every hit is
            return self._record(*row)
        return unflat(self._record, dict(zip(self.names, row, strict=True)))


READ_AS = {
    "config": "config::text",  # as text: a key is derived from it to the letter
    "pinned_ts": "(SELECT pins.pinned_ts FROM pins WHERE pins.key = manifest.key)",
}
ENTRY = Columns(Entry, read_as=READ_AS)
LOCATOR = Columns(Locator)
MOST_BYTES = 256 * 1024  # of a request or a failure's note, as text
_TOO_LONG = json.dumps(asdict(FailureNote("NoteTooLong", "the note of this failure is too long to be read", "")))
_JOB = {
    "lapsed": "coalesce(j.lease_until < now(), false)",
    "remembered": "coalesce(j.finished_ts > now() - make_interval(secs => %(failure_memory_s)s), false)",
    # Trainers may write both: what is longer than fstore makes it is not read.
    "failure": f"CASE WHEN octet_length(j.error::text) > {MOST_BYTES} THEN '{_TOO_LONG}' ELSE j.error END",
    "request": f"CASE WHEN octet_length(j.request::text) > {MOST_BYTES} THEN '{{}}' ELSE j.request END",
}
JOB = Columns(Job, table="j.", read_as=_JOB)
JOB_STATUS = Columns(Job, table="j.", read_as=_JOB, without=("request",))  # which may have 128 KB

_PLACES = {
    "{entry}": ENTRY.selected,
    "{locator}": LOCATOR.selected,
    "{manifest_locator}": Columns(Locator, table="m.").selected,
    "{job}": JOB.selected,
    "{job_status}": JOB_STATUS.selected,
}


@cache
def statements(name: str) -> Mapping[str, str]:
    """Return the named statements of ``fstore/postgres/sql/<name>.sql``.

    Each starts with ``-- name: <statement>``. Where one says ``{entry}``, ``{locator}`` or ``{job}``, it selects
    what makes that record.
    """
    text = resources.files("fstore.postgres").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    for place, selected in _PLACES.items():
        text = text.replace(place, selected)
    parts = re.split(r"^-- name: (\w+)\s*$", text, flags=re.MULTILINE)[1:]
    return {
        key: "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("--")).strip()
        for key, body in zip(parts[::2], parts[1::2], strict=True)
    }
