"""What is stored is what was returned, to the bit and the type; or a refusal names what is not."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fstore.compute.planning import Computation
from fstore.compute.publishing import Publisher
from fstore.errors import UnhashableInput
from fstore.features.declarations import Feature
from fstore.fingerprint.identification import to_table
from fstore.frames.convert import to_frame
from fstore.model import Claim, Fingerprint, HashMethod, KeyParts, Locator
from fstore.results.codec import UnstorableResult, check_faithful, decode_result, encode_result, time_bounds
from fstore.storage import local_cache as local_tier
from fstore.storage.folder.entries import FolderEntries
from fstore.storage.folder.staging import FolderStaging
from fstore.storage.local_cache import LocalCache
from fstore.storage.open import Storage
from fstore.storage.parquet import write_parquet
from tests import portraits
from tests.awkward_frames import FRAMES
from tests.awkward_tables import MIXTURES, REFUSED, TABLES
from tests.sample_frames import KINDS

ALL = {kind: make for kind, make in {**FRAMES, **MIXTURES, **KINDS}.items() if kind != "more rows than a row group"}


def _release(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


# What the older libraries of the range (see pyproject) cannot store: they refuse it by name, and store nothing wrong.
OLDER = {
    "list_view": _release(pa.__version__) < (25,),
    "fixed_size_list": _release(pa.__version__) < (26,),
    "intervals of zoned times": _release(pd.__version__) < (3, 1),
}
FEATURE = Feature("m:f", len, "1", "", True)


def as_stored(kinds: Iterable[str]) -> list[Any]:
    """Expect of each kind that it is stored, or refused where the libraries are too old for it."""
    refused = pytest.mark.xfail(raises=UnstorableResult, strict=True)
    return [pytest.param(kind, marks=refused if OLDER.get(kind) else ()) for kind in kinds]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    root = tmp_path_factory.mktemp("store")
    storage = Storage(FolderEntries(root), FolderStaging(root))
    storage.entries.create("results")
    return storage


def published(files: Storage, result: object) -> tuple[Locator, pa.Table]:
    """Store a result as a worker does, and read it as a trainer does."""
    key, nothing = uuid.uuid4().hex * 2, cast(Any, None)
    taken = Fingerprint(HashMethod.FULL, "ab" * 32)
    parts = KeyParts("S", "m:f", "1", "{}", str(taken))
    request: Any = SimpleNamespace(raw_data=SimpleNamespace(model_dump=dict))
    computation = Computation(key, parts, FEATURE, {}, taken, request)
    pending = Publisher(nothing, files.entries, nothing, nothing).write(computation, Claim(key, 1, "me"), result, 0.1)
    return pending.facts.locator, files.entries.read(pending.facts.locator)


def root_of(files: Storage) -> Path:
    folder = files.entries.capabilities.folder
    assert folder is not None
    return folder


def everything_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", as_stored(ALL))
def test_a_frame_comes_back_as_it_was_returned(files: Storage, kind: str) -> None:
    """Values by their bits, objects by their types, labels, names, freq, categories and attrs: all of it survives."""
    frame = ALL[kind]()

    _, table = published(files, frame)

    assert portraits.of_frame(decode_result(table)) == portraits.of_frame(ALL[kind]())
    assert portraits.of_frame(frame) == portraits.of_frame(ALL[kind]())


@pytest.mark.parametrize("kind", as_stored(ALL))
def test_the_local_tier_gives_the_same_frame(
    files: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """By either door, as a copy or over mapped pages, and with the very table that the store gives."""
    monkeypatch.setattr(local_tier, "SMALL", -1)
    monkeypatch.setattr("fstore.storage.mapped_entry.SMALL", -1)
    frame = ALL[kind]()
    locator, table = published(files, frame)
    tier = LocalCache(tmp_path, max_bytes=10**9)

    mapped = tier.promote(locator, table)

    assert mapped is not None
    assert portraits.of_frame(mapped.frame()) == portraits.of_frame(frame)
    assert portraits.of_frame(decode_result(mapped.table)) == portraits.of_frame(frame)
    assert mapped.table.schema.equals(table.schema, check_metadata=True)
    assert portraits.of_table(mapped.table) == portraits.of_table(table)


@pytest.mark.parametrize("kind", as_stored(list(ALL)[::3]))
def test_a_staged_frame_is_compared_with_what_lies_on_disk(files: Storage, kind: str) -> None:
    """What a trainer leaves for a worker to publish is the same table, and publishing it changes nothing."""
    frame = ALL[kind]()

    staged = files.staging.read_result(files.staging.write_result("ab" * 32, encode_result(frame))).table
    _, table = published(files, staged)

    check_faithful(frame, staged)
    assert portraits.of_frame(decode_result(table)) == portraits.of_frame(frame)


@pytest.mark.parametrize("kind", as_stored(TABLES))
def test_a_table_comes_back_as_it_was_returned(files: Storage, tmp_path: Path, kind: str) -> None:
    """Types, nullability, metadata, categories and values survive the file and the local tier; pandas makes a frame of it."""
    table = TABLES[kind]()

    locator, found = published(files, table)
    mapped = LocalCache(tmp_path, max_bytes=10**9).promote(locator, found)

    assert portraits.of_table(found) == portraits.of_table(table)
    assert mapped is not None
    assert portraits.of_table(mapped.table) == portraits.of_table(table)
    assert len(decode_result(found)) == table.num_rows


@pytest.mark.parametrize("kind", as_stored([*list(ALL)[::3], *TABLES]))
def test_pandas_opens_the_file(files: Storage, kind: str) -> None:
    """A file of the store is a Parquet file like any other, of as many rows."""
    made = {**ALL, **TABLES}[kind]()
    if kind.startswith("one name twice"):
        pytest.skip("pandas refuses such files by itself")

    locator, _ = published(files, made)

    assert len(pd.read_parquet(root_of(files) / locator.path)) == len(made)


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_survive_is_refused_by_name(files: Storage, kind: str) -> None:
    """The error says what to change, and nothing is left on disk."""
    make, names = REFUSED[kind]
    before = everything_in(root_of(files))

    with pytest.raises(UnstorableResult, match=names):
        published(files, make())

    assert everything_in(root_of(files)) == before


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_survive_is_refused_when_staged_too(files: Storage, kind: str) -> None:
    """A result that this process computed passes the same gate."""
    result = REFUSED[kind][0]()

    with pytest.raises(UnstorableResult):
        check_faithful(
            result, files.staging.read_result(files.staging.write_result("ab" * 32, encode_result(result))).table
        )


def test_a_file_decodes_alike_in_a_process_that_did_nothing_else(files: Storage) -> None:
    """What a frame decodes to is in its file, not in what a process has used before."""
    wanted = {}
    for kind in ("periods", "period level", "interval column", "cut", "periods as labels", "categories, intervals"):
        locator, table = published(files, ALL[kind]())
        wanted[str(root_of(files) / locator.path)] = repr(portraits.of_frame(decode_result(table)))
    program = (
        "import sys, pyarrow.parquet as pq\n"
        "from fstore.results.codec import decode_result\n"
        "from fstore.results.stored_tables import meant_form\n"
        "found = decode_result(meant_form(pq.ParquetFile(sys.argv[1]).read()))\n"
        "from tests import portraits\n"
        "print(repr(portraits.of_frame(found)), end='')\n"
    )

    for path, portrait in wanted.items():
        done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
        assert done.stdout == portrait


@pytest.mark.parametrize("kind", KINDS)
def test_entries_without_notes_read_as_ever(files: Storage, kind: str) -> None:
    """A file from before there were notes gives the frame that Arrow and the raw data's notes make of it."""
    frame = KINDS[kind]()
    try:
        table = to_table(frame)
    except UnhashableInput:
        table = pa.Table.from_pandas(frame)
    path = root_of(files) / f"{uuid.uuid4().hex}.parquet"
    write_parquet(table, path)
    read = pa.parquet.ParquetFile(path).read()
    path.unlink()

    found = decode_result(read)

    assert portraits.of_frame(found) == portraits.of_frame(to_frame(read))
    again = (
        decode_result(read.replace_schema_metadata({**read.schema.metadata, b"fstore.index_freq": b"min"}))
        if (kind == "index with a frequency")
        else found
    )
    assert kind != "index with a frequency" or again.index.freqstr == "min"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("last", "bound"),
    [
        ("9999-12-31T23:59:59", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ("10000-01-01", None),
        ("2262-04-12", datetime(2262, 4, 12, tzinfo=UTC)),
    ],
)
@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_times_that_no_datetime_holds_are_no_bounds(last: str, bound: datetime | None, unit: str) -> None:
    """A sentinel far away leaves its bound out instead of failing the publication."""
    frame = pd.DataFrame({"expiry": np.array(["2024-01-01", last], f"M8[{unit}]")})

    assert time_bounds(encode_result(frame)) == (datetime(2024, 1, 1, tzinfo=UTC), bound)


def test_bounds_are_exact_in_every_unit_and_zone() -> None:
    """A zoned index is told in UTC; nanoseconds are cut, before 1970 too."""
    index = pd.DatetimeIndex(["1969-12-31 19:00:00.000000001", "2024-07-01"], tz="America/New_York")
    table = encode_result(pd.DataFrame({"a": [1, 2]}, index=index))

    assert time_bounds(table) == (
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(2024, 7, 1, 4, tzinfo=UTC),
    )
    assert time_bounds(table.slice(0, 0)) == (None, None)
    assert time_bounds(pa.table({"a": pa.nulls(2, pa.timestamp("s"))})) == (None, None)
    assert time_bounds(pa.table({"a": [1]}).replace_schema_metadata({b"pandas": b"no JSON"})) == (None, None)


_CELLS: tuple[Any, ...] = (
    None, np.nan, pd.NA, pd.NaT, True, 1, 1.0, -0.0, 2**70, "a", "", b"x", datetime.fromisoformat("2024-01-01"), date(2024, 1, 1),
    [1], [], (1,), {"x": 1}, {"x": 1.0}, np.int64(1), np.array([1.0]), pd.Timestamp("2024-01-01"),
)  # fmt: skip
_DTYPES = (
    "int8", "int64", "uint64", "float32", "float64", "bool", "M8[s]", "M8[ns]", "m8[s]", "m8[us]", "Int64", "Float64",
    "boolean", "str", "string", "category", "datetime64[s, Asia/Tokyo]", "period[M]", "double[pyarrow]",
)  # fmt: skip
_LABELS: tuple[Any, ...] = ("a", "b", 1, 0, 1.5, True, None, ("a", 1), pd.Timestamp("2024-01-01"), "1")


@st.composite
def values(draw: st.DrawFn, rows: int) -> Any:
    """A column of some dtype, or of objects that need not have anything in common."""
    if draw(st.integers(0, 3)) == 0:
        few = draw(st.lists(st.sampled_from(range(len(_CELLS))), min_size=1, max_size=2))
        cells = np.empty(rows, dtype=object)
        for at in range(rows):
            cells[at] = _CELLS[draw(st.sampled_from(few))]
        return pd.array(cells, dtype=object) if draw(st.booleans()) else pd.Series(cells, dtype=object).array
    dtype = draw(st.sampled_from(_DTYPES))
    numbers = np.array(draw(st.lists(st.integers(0, 100), min_size=rows, max_size=rows)), dtype="int64")
    made: Any = pd.Series(numbers)
    if dtype == "period[M]":
        made = pd.Series(pd.PeriodIndex.from_ordinals(numbers, freq="M"))
    elif dtype == "category":
        made = (made * draw(st.sampled_from([1, 0.5]))).astype("category")
    elif dtype in ("str", "string"):
        made = made.astype(str).astype(dtype)
    else:
        made = made.astype(dtype)
    if rows and draw(st.booleans()) and dtype not in ("int8", "int64", "uint64", "bool"):
        made[0] = None
    return made.array


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """A frame of up to five columns and rows, under labels and over an index of any kind."""
    rows = draw(st.integers(0, 5))
    labels = draw(st.lists(st.sampled_from(_LABELS), max_size=5, unique_by=lambda label: (label, str(label))))
    frame = pd.DataFrame({at: draw(values(rows)) for at in range(len(labels))}, index=pd.RangeIndex(rows))
    kind = draw(st.sampled_from(["range", "values", "levels"]))
    if kind == "values":
        frame.index = pd.Index(draw(values(rows)))
    elif kind == "levels":
        frame.index = pd.MultiIndex.from_arrays([draw(values(rows)), draw(values(rows))])
    if draw(st.booleans()) and len(labels):
        frame.columns = pd.Index(labels, tupleize_cols=False)
    frame.index.names = [draw(st.sampled_from([None, "t", 0, ("a", 1)])) for _ in frame.index.names]
    frame.columns.name = draw(st.sampled_from([None, "field", 0]))
    if draw(st.booleans()):
        frame.attrs = {draw(st.sampled_from(["a", 1, (1,)])): draw(st.sampled_from(_CELLS))}
    return frame


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(made=st.data())
def test_any_frame_is_stored_as_it_is_or_refused(files: Storage, made: st.DataObject) -> None:
    """Nothing between: no frame comes back changed, none fails otherwise."""
    try:
        frame = made.draw(frames())
    except (TypeError, ValueError):
        return  # pandas itself makes no frame of it

    try:
        _, table = published(files, frame)
    except UnstorableResult:
        return

    assert portraits.of_frame(decode_result(table)) == portraits.of_frame(frame)


def test_columns_taken_of_a_frames_table_are_no_part_of_that_frame() -> None:
    """Notes go by position: a table with other columns is what Arrow says it is, and none of them is mistaken for another."""
    table = encode_result(
        pd.DataFrame({"a": pd.cut([0.5, 1.5], [0, 1, 2]), "b": pd.Categorical([3, 1]), "c": [1.5, 2.5]})
    )

    assert decode_result(table.select(["b", "c"]))["c"].tolist() == [1.5, 2.5]
    assert decode_result(table.select(["c", "b", "a"]))["b"].tolist() == [3, 1]
