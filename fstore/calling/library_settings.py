"""What Python's own library and Arrow keep for the whole process."""

from __future__ import annotations

import calendar
import csv
import zoneinfo
from contextlib import suppress
from typing import Any

import pandas as pd
import pyarrow as pa

from fstore.calling.process_state import ProcessSetting
from fstore.calling.put_into_libraries import PutIntoLibraries


def _csv() -> tuple[int, dict[str, Any]]:
    return csv.field_size_limit(), {name: csv.get_dialect(name) for name in csv.list_dialects()}


def _set_csv(noted: tuple[int, dict[str, Any]]) -> None:
    csv.field_size_limit(noted[0])
    for name, dialect in noted[1].items():  # those that came later belong to whoever made them
        csv.register_dialect(name, dialect)


_PANDAS_TYPES = tuple(
    pa.array(values).type for values in (pd.period_range("2000", periods=1, freq="M"), pd.interval_range(0, 1))
)


def _know_pandas_types(_: object) -> None:
    for kind in _PANDAS_TYPES:
        with suppress(pa.ArrowKeyError):  # it is known, as nearly always; Arrow tells in no other way
            pa.register_extension_type(kind)


_put = PutIntoLibraries()

LIBRARY_SETTINGS = (
    ProcessSetting("what is put into libraries", _put.note, _put.put_back, blind=True),
    ProcessSetting("pandas' types in Arrow", lambda: None, _know_pandas_types, blind=True),
    ProcessSetting("the first day of the week", calendar.firstweekday, calendar.setfirstweekday, at_import=True),
    ProcessSetting("the limits and dialects of csv", _csv, _set_csv),
    ProcessSetting(
        "the folders of time zones",
        lambda: zoneinfo.TZPATH,
        lambda noted: zoneinfo.reset_tzpath(to=noted),
        at_import=True,
    ),
)
