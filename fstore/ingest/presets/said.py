"""What a caller may say besides a preset's name, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fstore.errors import InvalidRequest
from fstore.ingest.presets.record import Preset
from fstore.ingest.rows.cells import kind_named
from fstore.ingest.rows.moments import Count
from fstore.ingest.rows.zones import UTC_NS


@dataclass(frozen=True, slots=True)
class Said:
    """What the caller says besides the preset's name."""

    tz: str | None = None
    dtypes: Mapping[str, str] = field(default_factory=dict)
    time_column: str | None = None
    time_unit: str | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"


def told_of(preset: Preset, said: Said) -> Preset:
    """Check what the caller says against the preset, and put it there."""
    names = {column.name for column in preset.columns}
    times = preset.time.split("|")
    kinds = [column.kind for column in preset.columns if column.name in times]
    zoned = any(kind.type == UTC_NS for kind in kinds)
    if zoned and said.tz is not None:
        raise InvalidRequest("tz", f"the times of {preset.name} say which instants they are; leave out --tz (tz=)")
    if not zoned and preset.zone is None and said.tz is None:
        raise InvalidRequest(
            "tz",
            f"files of {preset.name} do not say in which zone their times are; say --tz Europe/Athens or wherever the "
            "server's clocks are, or --tz naive to leave it open (tz=)",
        )
    if said.time_column is not None:
        if said.time_column not in names or said.time_column not in times:
            raise InvalidRequest("time_column", f"{preset.name} has its times in {' or '.join(times)}")
        preset = replace(preset, time=said.time_column)
    if said.time_unit is not None:
        if not any(isinstance(kind, Count) for kind in kinds):
            raise InvalidRequest("time_unit", f"the times of {preset.name} are no numbers since 1970")
        told = [
            replace(column, kind=Count(said.time_unit)) if isinstance(column.kind, Count) else column
            for column in preset.columns
        ]
        preset = replace(preset, columns=tuple(told))
    for name, dtype in said.dtypes.items():
        kind_named(dtype)
        if name in times or name == preset.day:
            raise InvalidRequest("dtype", f"{name!r} is a time of {preset.name}; it has no other type")
    return preset
