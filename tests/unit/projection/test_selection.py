"""A part of a stored result is that part of the whole, whatever the result holds and wherever it is read."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fstore.entries import in_form, read_part
from fstore.errors import InvalidRequest
from fstore.model import Locator
from fstore.projection.selection import checked_selection
from fstore.results.codec import check_faithful, decode_result, encode_result
from fstore.results.likeness import frame_difference
from fstore.storage import mapped_entry, parquet
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.interface import Stored
from fstore.storage.local_cache import LocalCache
from fstore.storage.verify import decoded

KEY = "ab" * 32
ROWS = 5_000


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files of some kilobytes have digests and several row groups."""
    monkeypatch.setattr(parquet, "ROW_GROUP", 1_000)
    for module in ("fstore.storage.folder.entries", "fstore.entries"):
        monkeypatch.setattr(f"{module}.SMALL", 0)


@pytest.fixture
def entries(tmp_path: Path) -> FolderEntries:
    made = FolderEntries(tmp_path)
    made.create("store")
    return made


class Notes:
    """What reading tells others: nothing but that entries were used, or found wrong."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.read_bytes = 0

    def used(self, key: str) -> None:
        """Take note of a hit."""

    def count(self, name: str, n: int = 1) -> None:
        """Take note of a counter."""

    def quarantine(self, key: str, path: str) -> bool:
        self.wrong.append(path)
        return True


def located(stored: Stored, rows: int) -> Locator:
    return Locator(
        KEY,
        stored.path,
        rows,
        stored.file_size_bytes,
        stored.content_digest,
        "",
        stored.tail_bytes,
        stored.tail_digest,
    )


def published(entries: FolderEntries, result: Any) -> Locator:
    table = encode_result(result)
    return located(entries.publish(KEY, table, check=lambda back: check_faithful(result, back)), table.num_rows)


def part_of(entries: FolderEntries, found: Locator, columns: Any = None, between: Any = None) -> Any:
    notes = Notes()
    manifest = SimpleNamespace(find_live=lambda key: found, quarantine=notes.quarantine)
    resources = SimpleNamespace(entries=entries, local_cache=None, recorder=notes, manifest=manifest)
    wanted = checked_selection(columns, between)
    assert wanted is not None
    return read_part(cast("Any", resources), found, wanted)


def index(**how: Any) -> pd.DatetimeIndex:
    return pd.date_range("2024-03-01", periods=ROWS, freq="min", **how)


def numbers(**how: Any) -> pd.DataFrame:
    values = np.random.default_rng(1).normal(size=(ROWS, 4))
    return pd.DataFrame(values, index(**how), columns=list("abcd"))


def categories() -> pd.Categorical:
    """Give categories of which each row group holds others, one none at all, in an order of their own."""
    codes = np.repeat([3, 1, -1, 0, 2], ROWS // 5)
    return pd.Categorical.from_codes(codes, ["z", "unused", "y", "x", "v"], ordered=True)


FRAMES: dict[str, pd.DataFrame] = {
    "numbers": numbers(),
    "zoned": numbers(tz="America/New_York", name="time"),
    "no freq": numbers().sample(frac=1, random_state=1).sort_index(),
    "categories": numbers().assign(b=categories()),
    "texts": numbers().assign(b=np.repeat(["x", "yy", None, "x", "z"], ROWS // 5)),  # type: ignore[list-item]
    "nullable": numbers().assign(b=pd.array([1, None] * (ROWS // 2), dtype="Int64")),
    "integer labels": numbers().set_axis([0, 1, 2, 3], axis=1),
    "objects": numbers().assign(b=pd.Series([1, "a"] * (ROWS // 2), index(), dtype=object)),
    "attrs": numbers().assign(b=1.5),
    "range index": numbers().rename_axis("time").reset_index(),
    "out of order": numbers().sample(frac=1, random_state=2),
    "no time": numbers().set_axis(index().where(np.arange(ROWS) % 7 != 3)),
    "no time at first": numbers().set_axis(index().where(np.arange(ROWS) > 3)),
    "seconds": numbers().set_axis(index().as_unit("s")),
    "several levels": numbers().set_index(pd.MultiIndex.from_arrays([index(), categories()], names=["time", "side"])),
    "no rows": numbers(tz="UTC").iloc[:0],
    "categories, no rows": numbers().assign(b=categories()).iloc[:0],
    "one row": numbers().iloc[2_000:2_001],
    "columns' name": numbers().rename_axis("field", axis=1),
}
FRAMES["attrs"].attrs["made by"] = "us"


@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize(
    "between",
    [None, ("2024-03-02 00:30", "2024-03-02 09:00"), ("2024-03-04", None), ("2030", None), (None, "2024-03-02")],
)
@pytest.mark.parametrize("columns", [None, ["c", "b"], []])
def test_a_part_is_that_part_of_the_whole(entries: FolderEntries, name: str, between: Any, columns: Any) -> None:
    """Values, dtypes, categories, index, freq and attrs, as slicing the whole frame gives them."""
    if columns is None and between is None:
        return
    frame = FRAMES[name]
    if name == "integer labels" and columns:
        with pytest.raises(InvalidRequest, match="there is no"):
            part_of(entries, published(entries, frame), columns, between)
        return
    expected = frame if columns is None else frame[columns]
    if between is not None:
        times = frame["time"] if name == "range index" else frame.index.get_level_values(0).to_series()
        start, end = (None if bound is None else pd.Timestamp(bound, tz=times.dt.tz) for bound in between)
        kept = np.ones(len(frame), dtype=bool)
        kept &= True if start is None else (times >= start).to_numpy()
        kept &= True if end is None else (times < end).to_numpy()
        rows = np.flatnonzero(kept)
        is_run = name not in ("out of order", "no time")
        expected = expected.iloc[
            slice(rows[0], rows[-1] + 1) if is_run and len(rows) else slice(0, 0) if is_run else rows
        ]

    found = part_of(entries, published(entries, frame), columns, between)

    assert found is not None
    assert frame_difference(expected, decode_result(found)) is None


def test_names_that_are_not_there_are_refused_with_near_ones(entries: FolderEntries) -> None:
    found = published(entries, numbers(name="time").rename(columns={"a": "spread"}))
    with pytest.raises(InvalidRequest, match="'spread'"):
        part_of(entries, found, ["spred"])
    with pytest.raises(InvalidRequest, match="no index and no column of times"):
        part_of(entries, published(entries, pd.DataFrame({"x": range(9)})), None, ("2024", None))


def test_flipped_bits_are_never_served_and_quarantine_the_entry(entries: FolderEntries, tmp_path: Path) -> None:
    """1,000 flips all over the file: what is used is found wrong, what is not used disturbs nobody."""
    frame = numbers()
    found = published(entries, frame)
    wanted, between = ["c"], ("2024-03-02 00:30", "2024-03-02 09:00")
    expected = part_of(entries, found, wanted, between)
    assert expected is not None
    file = tmp_path / found.path
    data = file.read_bytes()
    random_ = random.Random(5)
    file.chmod(0o640)
    outcomes = {"none": 0, "same": 0}
    for _ in range(1_000):
        at = (
            random_.randrange(len(data))
            if random_.random() < 0.6
            else len(data) - 1 - random_.randrange(found.tail_bytes or 0)
        )
        damaged = bytearray(data)
        damaged[at] ^= 1 << random_.randrange(8)
        file.write_bytes(damaged)
        read = part_of(entries, found, wanted, between)
        if read is None:
            outcomes["none"] += 1
            if not file.exists():  # in quarantine
                file.write_bytes(data)
        else:
            assert read.equals(expected)
            assert at < len(data) - (found.tail_bytes or 0), "the tail is always used"
            outcomes["same"] += 1
    assert min(outcomes.values()) > 100


def test_an_entry_without_digests_is_read_whole(entries: FolderEntries, tmp_path: Path) -> None:
    """Those published before, and small ones; a flipped bit anywhere in them is seen."""
    found = replace(published(entries, numbers()), tail_bytes=None, tail_digest=None)
    part = part_of(entries, found, ["c"])
    assert part is not None
    assert frame_difference(numbers()[["c"]], decode_result(part)) is None
    file = tmp_path / found.path
    file.chmod(0o640)
    damaged = bytearray(file.read_bytes())
    damaged[100] ^= 1
    file.write_bytes(damaged)
    assert part_of(entries, found, ["d"]) is None


def test_bytes_that_were_staged_get_digests_too(entries: FolderEntries, tmp_path: Path) -> None:
    """What a trainer computed is published as it is, with digests before its footer."""
    frame = numbers()
    parquet.write_result(encode_result(frame), tmp_path / "staged")
    staged = pa.py_buffer((tmp_path / "staged").read_bytes())

    stored = entries.publish_bytes(KEY, staged)

    assert stored.tail_bytes is not None
    found = located(stored, len(frame))
    assert decoded(entries.read_bytes(found)).equals(decoded(staged), check_metadata=True)
    part = part_of(entries, found, ["b"])
    assert part is not None
    assert frame_difference(frame[["b"]], decode_result(part)) is None


def pages(frame: pd.DataFrame, table: pa.Table) -> bool:
    """Do all columns of a frame lie in the memory of a table."""
    areas = [
        (buffer.address, buffer.address + buffer.size)
        for column in table.columns
        for chunk in column.chunks
        for buffer in chunk.buffers()
        if buffer is not None
    ]
    starts = [int(frame[name].to_numpy().__array_interface__["data"][0]) for name in frame]
    return all(any(low <= start < high for low, high in areas) for start in starts)


@pytest.mark.parametrize("columns", [None, ["c", "a"]])
@pytest.mark.parametrize("between", [None, ("2024-03-02 00:31", "2024-03-03 09:00")])
def test_parts_of_what_the_host_holds_lie_in_its_pages(tmp_path: Path, columns: Any, between: Any) -> None:
    """Nothing is copied for them; whoever writes to one changes neither the pages nor the next one."""
    if columns is None and between is None:
        return
    frame = pd.concat([numbers(name="time")] * 60).sort_index()
    tier = LocalCache(tmp_path, max_bytes=10**8)
    found = Locator(KEY, f"entries/ab/{KEY}.{1:016x}.parquet", len(frame), 1, "ab" * 32, "")
    mapped = tier.promote(found, encode_result(frame))
    assert mapped is not None
    resources = cast("Any", SimpleNamespace(local_cache=tier, recorder=Notes()))
    wanted = checked_selection(columns, between)
    assert wanted is not None
    held = slice(None) if between is None else (frame.index >= between[0]) & (frame.index < between[1])
    expected = frame.loc[held] if columns is None else frame.loc[held, columns]

    first, second = (in_form(read_part(resources, found, wanted), "pandas") for _ in range(2))

    pd.testing.assert_frame_equal(first, expected, check_exact=True)
    again = tier.find(found)
    assert again is not None
    assert pages(first, again.table)
    assert pages(second, again.table)
    first.iloc[0, 0] = -1.0
    second += 1
    third = in_form(read_part(resources, found, wanted), "pandas")
    pd.testing.assert_frame_equal(third, expected, check_exact=True)


def test_there_are_not_ever_more_parts_in_a_hosts_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those beyond some are copies, and right ones."""
    monkeypatch.setattr(mapped_entry, "MOST_PARTS", 2)
    frame = pd.concat([numbers(name="time")] * 20).sort_index()
    tier = LocalCache(tmp_path, max_bytes=10**8)
    found = Locator(KEY, f"entries/ab/{KEY}.{1:016x}.parquet", len(frame), 1, "ab" * 32, "")
    tier.promote(found, encode_result(frame))
    resources = cast("Any", SimpleNamespace(local_cache=tier, recorder=Notes()))
    for name in "abcd":
        wanted = checked_selection([name], None)
        assert wanted is not None
        part = in_form(read_part(resources, found, wanted), "pandas")
        pd.testing.assert_frame_equal(part, frame[[name]], check_exact=True)
    again = tier.find(found)
    assert again is not None
    assert len(again.parts) == 2


def test_a_part_reads_a_part(entries: FolderEntries, monkeypatch: pytest.MonkeyPatch) -> None:
    """One column of one row group of five is a small share of the file, read with two accesses."""
    found = published(entries, numbers())
    read: list[int] = []
    original = entries.read_ranges

    def noting(locator: Locator, ranges: Any) -> Any:
        read.append(sum(length for _, length in ranges))
        return original(locator, ranges)

    monkeypatch.setattr(entries, "read_ranges", noting)
    assert part_of(entries, found, ["c"], ("2024-03-02 00:30", "2024-03-02 01:00")) is not None
    assert len(read) == 2
    assert sum(read) < found.file_size_bytes / 5


_DAY = pd.date_range("2026-01-05", periods=4, freq="h", name="time")
_CELLS = pd.Series([{1}, (2,), None, [3]], index=_DAY, name="x", dtype=object)
SERIES = {
    "numbers": pd.Series([1.0, 2.0, 3.0, 4.0], index=_DAY, name="x"),
    "numbers over a range": pd.Series([1.0, 2.0, 3.0, 4.0], name="x"),
    "objects": _CELLS,
    "categories": pd.Series(pd.Categorical([3, 1, 3, 1]), index=_DAY, name="x"),
    "with attrs": _CELLS.copy(),
}
SERIES["with attrs"].attrs = {"unit": ("bp",)}


@pytest.mark.parametrize("between", [None, ("2026-01-05 01:00", "2026-01-05 03:00")])
@pytest.mark.parametrize("kind", SERIES)
def test_a_series_stays_one_if_its_name_is_asked(kind: str, between: Any) -> None:
    """Whether a part of its table can be read or all of it must be: its own name gives it, another is refused."""
    series = SERIES[kind]
    if between is not None and not isinstance(series.index, pd.DatetimeIndex):
        pytest.skip("it has no times")
    table = encode_result(series)

    part = decode_result(chosen(["x"], between).of(table))

    wanted = series if between is None else series[1:3]
    assert isinstance(part, pd.Series)
    assert part.name == "x"
    assert part.index.tolist() == wanted.index.tolist()
    assert list(map(repr, part)) == list(map(repr, wanted))
    with pytest.raises(InvalidRequest, match="there is no 'y'"):
        chosen(["y"], between).of(table)


@pytest.mark.parametrize("labels", [pd.Index([1, 2]), pd.RangeIndex(1, 3), pd.Index([1, "2"], dtype=object)])
def test_a_text_is_no_number_of_a_label(labels: pd.Index) -> None:
    """Fields are called after labels in text, and a frame has no column of that name all the same."""
    frame = pd.DataFrame(np.ones((4, 2)), columns=labels, index=_DAY)

    with pytest.raises(InvalidRequest, match="there is no '1'"):
        chosen(["1"]).of(encode_result(frame))


@pytest.mark.parametrize(
    ("zone", "between"),
    [
        ("Europe/Paris", (pd.Timestamp.min, None)),
        ("+05:30", (None, pd.Timestamp.min)),
        ("America/New_York", (None, pd.Timestamp.max)),
        ("-03:00", (pd.Timestamp.max, None)),
    ],
)
def test_bounds_beyond_a_zones_clock_are_refused_in_words(zone: str, between: Any) -> None:
    """By the clock of a zone the first and last instants of pandas lie beyond what it can count."""
    table = encode_result(pd.DataFrame({"x": [1.0]}, index=pd.DatetimeIndex(["2026-01-05"]).tz_localize(zone)))

    with pytest.raises(InvalidRequest, match="leave the side open with None"):
        chosen(None, between).of(table)


def chosen(columns: Any = None, between: Any = None) -> Any:
    """Say what is wanted."""
    found = checked_selection(columns, between)
    assert found is not None
    return found
