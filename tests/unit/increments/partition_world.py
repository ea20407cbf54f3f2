"""A store of segments in memory, test features, and random edits of raw data: what partitions are tried with."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from fstore.features.partitioning import Declaration, checked_partitioning, partitions, sessions
from fstore.fingerprint.identification import to_table
from fstore.increments.data import PartitionedData
from fstore.increments.execution import Copies, Made, composed, make_segment
from fstore.increments.naming import series_of
from fstore.increments.planning import Plan, Relative, plan
from fstore.model import KeyParts

Config = Mapping[str, Any]


@dataclass
class MemoryStore:
    """Segments by key, as files and rows would hold them."""

    made: dict[str, tuple[bytes, str, Made]] = field(default_factory=dict)

    def ask(self, name: str, func: Any, raw: Any, config: Config, declared: Declaration) -> tuple[pa.Table, Plan]:
        """Answer as a trainer and workers would: name, look up, copy, compute on runs of rows alone, put together."""
        data = PartitionedData(raw, declared)
        segments = data.segments()
        parts = KeyParts("ES", name, "1", repr(sorted(config.items())), "")
        series = series_of(parts, declared.text)
        keys = [f"{name}/{parts.config}/{segment.fingerprint}" for segment in segments]
        relatives = [
            Relative(key, period, tuple(r.name for r in one.records), one.records)
            for key, (of, period, one) in reversed(self.made.items())
            if of == series
        ]
        planned = plan(segments, keys, self.made, data.table(), relatives)
        tables = []
        for each in planned.segments:
            if each.answered_by is None:
                source = self.made[each.source][2] if each.source else None
                self.made[each.key] = (series, each.segment.period, self._work(func, each, data, config, source))
            one = self.made[each.answered_by or each.key][2]
            tables.append((each.segment.period, _cut_to(one, each.segment.names)))
        return composed(tables), planned

    def _work(self, func: Any, each: Any, data: PartitionedData, config: Config, source: Made | None) -> Made:
        worker = PartitionedData(data.run(each.segment), data.declared)
        segment = worker.segment(each.segment.period, each.segment.names, "staged")
        copies = Copies(source.table, source.records) if source else None
        return make_segment(func, segment, worker, lambda: dict(config), copies=copies)


def _cut_to(one: Made, names: tuple[bytes, ...]) -> pa.Table:
    """Take the rows of some partitions out of a segment that may hold more."""
    at, kept = 0, []
    for record in one.records:
        if record.name in names:
            kept.append(one.table.slice(at, record.rows))
        at += record.rows
    return pa.concat_tables(kept)


def spread_mean(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    return (raw["ask"] - raw["bid"]).rolling(config["window"], min_periods=1).mean().to_frame("spread")


def spread_std(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    found = raw[["bid", "ask"]].rolling(config["window"]).std()
    return found.assign(count=raw["size"].rolling(config["window"], min_periods=1).sum().astype("int64"))


def session_vwap(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    spent = (raw["bid"] * raw["size"]).cumsum()
    return (spent / raw["size"].cumsum()).to_frame("vwap").assign(side=raw["side"])


def forward(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    return pd.DataFrame({"label": raw["ask"].shift(-config["window"]) / raw["ask"], "back": raw["bid"].diff()})


def previous_close(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    days = raw.index.normalize()
    closes = raw["bid"].groupby(days).last().shift(1)
    return pd.DataFrame({"close": closes.reindex(days).to_numpy(), "day": days.day_of_year}, index=raw.index)


def span_sum(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    return raw[["size"]].rolling("45min").sum()


def thinned(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    return raw.loc[raw["size"] > 3, ["bid"]].assign(text=lambda frame: frame["bid"].round(1).astype(str))


def projected(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    return raw[["bid", "ask"]].dot(np.array([[0.3], [0.7]])).set_axis(["mix"], axis=1)


def scaled(raw: pd.DataFrame, config: Config) -> pd.DataFrame:
    """Depends on a config of which its declaration says nothing."""
    return raw[["bid"]] * config["window"]


def _window(config: Config) -> int:
    return int(config["window"]) - 1


FEATURES: dict[str, tuple[Callable[[pd.DataFrame, Config], Any], dict[str, Any]]] = {
    "spread_mean": (spread_mean, {"partition": "day", "lookback": _window}),
    "spread_std": (spread_std, {"partition": sessions("day", start="01:30"), "lookback": _window}),
    "session_vwap": (session_vwap, {"partition": "day"}),
    "forward": (forward, {"partition": "day", "lookback": 1, "lookahead": lambda config: config["window"]}),
    "previous_close": (previous_close, {"partition": "day", "lookback": partitions(1)}),
    "span_sum": (span_sum, {"partition": "day", "lookback": "45min", "segment": "week"}),
    "span_both": (span_sum, {"partition": sessions("day", start="18:00"), "lookback": "3h", "lookahead": "5min"}),
    "thinned": (thinned, {"partition": "day", "lookback": partitions(2), "segment": "all"}),
    "projected": (projected, {"partition": "week", "lookback": 3}),
    "scaled": (scaled, {"partition": "day"}),
}


def declared(name: str, config: Config) -> Declaration:
    return partition_declared(**FEATURES[name][1], config=config)


def partition_declared(partition: Any, config: Config | None = None, **reach: Any) -> Declaration:
    found = checked_partitioning("f", partition, **reach)
    assert found is not None
    return found.evaluated(config or {})


def ticks(days: int, zone: str | None, rng: np.random.Generator, start: str = "2024-10-29") -> pd.DataFrame:
    """Make days of ticks of uneven length, with gaps, ties and a missing value now and then."""
    stamps: list[pd.DatetimeIndex] = []
    for day in pd.date_range(start, periods=days, freq="D"):
        if day.day_of_week < 5 or rng.random() < 0.3:
            minutes = np.sort(rng.integers(0, 24 * 60, int(rng.integers(1, 9))))
            stamps.append(day + pd.to_timedelta(minutes, unit="min"))
    index = stamps[0].append(stamps[1:]).rename("time")
    return quotes(index if zone is None else index.tz_localize("UTC").tz_convert(zone), rng)


def quotes(index: pd.DatetimeIndex, rng: np.random.Generator) -> pd.DataFrame:
    bid = 100 + rng.normal(size=len(index)).cumsum()
    frame = pd.DataFrame(
        {"bid": bid, "ask": bid + rng.random(len(index)), "size": rng.integers(1, 9, len(index))}, index
    )
    return frame.assign(side=pd.Categorical(rng.choice(["B", "S"], len(index)), categories=["B", "S", "N"]))


def edited(raw: pd.DataFrame, random_: random.Random, rng: np.random.Generator) -> pd.DataFrame:
    """Change data as they change in life: a new day, a correction, a late or a missing row, another start."""
    changed = random_.choice(EDITS)(raw, random_.randrange(len(raw)), random_, rng)
    return changed if len(changed) else raw


def _append(raw: pd.DataFrame, at: int, random_: random.Random, rng: np.random.Generator) -> pd.DataFrame:
    return _with_day(raw, raw.index[-1] + pd.Timedelta(days=random_.choice([1, 1, 1, 3, 30])), rng)


def _prepend(raw: pd.DataFrame, at: int, random_: random.Random, rng: np.random.Generator) -> pd.DataFrame:
    return _with_day(raw, raw.index[0] - pd.Timedelta(days=1), rng)


def _correct(raw: pd.DataFrame, at: int, random_: random.Random, rng: np.random.Generator) -> pd.DataFrame:
    changed = raw.copy()
    changed.iloc[at, random_.randrange(2)] = random_.choice([np.nan, float(rng.normal()), -0.0])
    return changed


def _insert(raw: pd.DataFrame, at: int, random_: random.Random, rng: np.random.Generator) -> pd.DataFrame:
    return _joined(raw, quotes(raw.index[at : at + 1] + pd.Timedelta(seconds=random_.choice([0, 1, 30])), rng))


def _delete(raw: pd.DataFrame, at: int, random_: random.Random, rng: np.random.Generator) -> pd.DataFrame:
    return raw.iloc[[row for row in range(len(raw)) if row != at]]


def _drop_day(raw: pd.DataFrame, at: int, random_: random.Random, rng: np.random.Generator) -> pd.DataFrame:
    return raw[raw.index.normalize() != raw.index[random_.choice([at, 0])].normalize()]


def _swap_ties(raw: pd.DataFrame, at: int, random_: random.Random, rng: np.random.Generator) -> pd.DataFrame:
    order = list(range(len(raw)))
    order[at], order[at - 1] = order[at - 1], order[at]
    return raw.iloc[order].set_axis(raw.index)


def _move_a_time(raw: pd.DataFrame, at: int, random_: random.Random, rng: np.random.Generator) -> pd.DataFrame:
    index = raw.index.to_series()
    index.iloc[at] += pd.Timedelta(seconds=59)
    return raw.set_axis(pd.DatetimeIndex(index, name="time")).sort_index(kind="stable")


def _recategorise(raw: pd.DataFrame, at: int, random_: random.Random, rng: np.random.Generator) -> pd.DataFrame:
    return raw.assign(side=raw["side"].cat.set_categories(["B", "S", "N", random_.choice("XYZ")]))


def _cut(raw: pd.DataFrame, at: int, random_: random.Random, rng: np.random.Generator) -> pd.DataFrame:
    return raw.iloc[at:] if len(raw) - at > 3 else raw.iloc[: at + 1]


EDITS = [
    *(_append, _append, _prepend, _correct, _correct, _insert, _insert, _delete, _drop_day, _drop_day),
    *(_swap_ties, _move_a_time, _recategorise, _cut),
]


def _with_day(raw: pd.DataFrame, day: pd.Timestamp, rng: np.random.Generator) -> pd.DataFrame:
    index = pd.DatetimeIndex(
        [day + pd.Timedelta(minutes=int(m)) for m in np.sort(rng.integers(0, 600, 5))], name="time"
    )
    return _joined(raw, quotes(index.as_unit(raw.index.unit), rng))


def _joined(raw: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    more = more.assign(side=more["side"].cat.set_categories(raw["side"].cat.categories))
    return pd.concat([raw, more]).sort_index(kind="stable")


def as_given(raw: pd.DataFrame, random_: random.Random) -> Any:
    """Give the same data as a frame, as a table, or as a table in chunks."""
    kind = random_.randrange(3)
    if kind == 0:
        return raw
    table = to_table(raw)
    return table if kind == 1 else pa.Table.from_batches(table.to_batches(max_chunksize=random_.randrange(1, 9)))
