"""Raw inputs: each kind is a class, opened once a request, and what is found out about it is found once."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fstore.compute.raw_data import Taker, hold_raw, stage_raw
from fstore.errors import InvalidRequest, UnhashableInput
from fstore.fingerprint.identification import content_digest, identify
from fstore.fingerprint.parquet_limits import USUAL
from fstore.fingerprint.raw_input import RawInput
from fstore.fingerprint.sources import FrameInput, ParquetInput, StreamInput, TableInput, open_raw
from fstore.frames import look as looking
from fstore.ingest.ingestion import ingest
from fstore.model import ParquetSource
from fstore.results import UnstorableResult, encode_result
from fstore.results.forms import FORMS, Returns, check_returns
from fstore.storage.folder.staging import FolderStaging

FRAME = pd.DataFrame({"x": [1.5, 2.5, 3.5], "side": ["buy", None, "sell"]})
TABLE = pa.table({"x": [1.5, 2.5, 3.5], "n": [1, 2, 3]})


def parquet(folder: Path) -> ParquetSource:
    pq.write_table(TABLE, folder / "x.parquet")
    return ParquetSource(folder / "x.parquet")


def test_each_kind_of_raw_data_is_known_by_its_class(tmp_path: Path) -> None:
    """A subclass is of its parent's kind, and what was opened stays what it is."""
    kinds: list[tuple[object, type[RawInput]]] = [
        (FRAME, FrameInput),
        (type("Own", (pd.DataFrame,), {})(FRAME), FrameInput),
        (TABLE, TableInput),
        (TABLE.to_batches()[0], TableInput),
        (parquet(tmp_path), ParquetInput),
        (pl.DataFrame({"x": [1.5]}), StreamInput),
    ]
    for raw, kind in kinds:
        opened = open_raw(raw)
        assert type(opened) is kind
        assert open_raw(opened) is opened
        assert opened.schema.names[0] == "x"
        assert pa.Table.from_batches(opened.batches()).num_rows == opened.table().num_rows

    for none in (3, "text", [1.0], pd.Series([1.0]), TABLE.to_reader()):
        with pytest.raises(UnhashableInput):
            open_raw(none)


def test_raw_data_arrive_in_another_process_as_what_they_were(tmp_path: Path) -> None:
    """A ticket takes them along; what was found about a frame stays behind."""
    for raw in (pd.concat([FRAME] * 1000), TABLE, parquet(tmp_path)):
        held = hold_raw(raw)
        digest = content_digest(held)
        carried = pickle.dumps(held)

        arrived = pickle.loads(carried)

        assert (type(arrived), arrived.path, content_digest(arrived)) == (type(held), held.path, digest)
        assert len(carried) < len(pickle.dumps(raw)) + 1000


def test_a_miss_looks_at_its_frame_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fingerprint, staging and a computation here share schema and parts."""
    staging = FolderStaging(tmp_path)
    looked = []
    schema_of = looking.schema_of
    monkeypatch.setattr(looking, "schema_of", lambda *given: looked.append(given) or schema_of(*given))

    held = hold_raw(FRAME)
    taken = identify(held, threshold_bytes=1 << 30).fingerprint
    reference = stage_raw(staging, held, taken)
    Taker().take(held, taken, wanted="pandas")

    assert len(looked) == 1
    assert content_digest(staging.read(reference.path)) == taken.digest


def test_parts_that_are_copies_are_not_kept() -> None:
    """What is written past pandas to a frame in several blocks must show, or its change would not be noticed."""
    numbers = np.arange(6.0)
    frame = pd.concat([pd.DataFrame({"a": numbers}, copy=False), pd.DataFrame({"b": numbers * 2})], axis=1)
    opened = FrameInput(frame)
    before = opened.scan().digest

    memory = np.asarray(opened.frame["a"].array)
    memory.setflags(write=True)
    memory[2] = 99.0

    assert opened.look.is_copy
    assert opened.scan().digest != before
    assert opened.table()["a"][2].as_py() == 99.0


def test_two_stores_of_a_process_keep_their_own_limits(tmp_path: Path) -> None:
    """The limits come with the input; nothing in the process remembers those of the last one."""
    source = parquet(tmp_path)
    strict = open_raw(source, USUAL._replace(rows=2))
    lenient = open_raw(source, USUAL)

    for call in (
        lambda raw: identify(raw, threshold_bytes=0),
        lambda raw: raw.table(),
        lambda raw: raw.dataset(),
        lambda raw: raw.nbytes,
        lambda raw: raw.resolved().table(),
        lambda raw: list(raw.batches()),
    ):
        with pytest.raises(InvalidRequest, match="RAW_MAX_ROWS"):
            call(strict)
        call(lenient)
    with pytest.raises(InvalidRequest, match="RAW_MAX_ROWS"):
        ingest(source, tmp_path / "out.parquet", limits=USUAL._replace(rows=2))


def test_limits_come_from_the_settings_of_the_store() -> None:
    """Two stores opened one after the other: the first keeps what it was given."""
    settings: Any = type(
        "Some",
        (),
        {
            "raw_max_rows": 2,
            "raw_max_columns": 3,
            "raw_max_row_groups": 4,
            "raw_max_footer_bytes": 5,
            "raw_max_expansion": 6,
        },
    )
    held = hold_raw(ParquetSource("/x"), settings)

    assert isinstance(held, ParquetInput)
    assert held.reader.limits == (2, 3, 4, 5, 6)


def test_the_forms_of_results_are_one_table() -> None:
    """What a caller may ask for, what the types say and what is converted are the same names."""
    assert get_args(Returns) == tuple(FORMS)
    assert all(check_returns(name) == name for name in FORMS)
    with pytest.raises(InvalidRequest, match="'numpy'; choose 'pandas' or 'arrow' or 'polars'"):
        check_returns("numpy")
    for form in FORMS.values():
        given = form.of_result(TABLE)
        assert type(given) is type(form.of_table(TABLE))
        assert given.equals(form.of_result(form.of_table(TABLE)))


@pytest.mark.parametrize(
    ("raw", "meant"),
    [
        ("ticks.parquet", "did you mean fstore.ParquetSource('ticks.parquet')?"),
        (Path("ticks.parquet"), "did you mean fstore.ParquetSource('ticks.parquet')?"),
        (pl.LazyFrame({"a": [1]}), "did you mean .collect()?"),
    ],
    ids=["text", "path", "lazy"],
)
def test_what_was_probably_meant_as_raw_data_is_said(raw: object, meant: str) -> None:
    """A path and a lazy frame are what people give most often in place of raw data."""
    with pytest.raises(UnhashableInput) as caught:
        open_raw(raw, USUAL)
    assert meant in str(caught.value)


def test_objects_of_polars_are_refused_not_their_addresses() -> None:
    """Arrow is handed pointers of such a column: two processes, or two contents, cannot be told apart by them."""
    frame = pl.DataFrame({"price": [1.0, 2.0], "order": pl.Series([{"id": 1}, None], dtype=pl.Object)})

    for look in (identify_of, lambda raw: open_raw(raw).table(), lambda raw: open_raw(raw).held()):
        with pytest.raises(UnhashableInput, match=r"'order'.*Python objects"):
            look(frame)
    with pytest.raises(UnstorableResult, match=r"'order'.*Python objects"):
        encode_result(frame)
    assert encode_result(frame.select("price")).num_rows == 2
    assert identify_of(frame.select("price")) == identify_of(frame.select("price").to_arrow())


def identify_of(raw: object) -> str:
    """Digest raw data as a request does."""
    return identify(raw, threshold_bytes=1 << 20).fingerprint.digest
