"""Raw data that change while their results are on the way: results belong to what was asked about, or are refused."""

from __future__ import annotations

import os
from itertools import count

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import fstore
from fstore.compute.raw_data import Taker
from fstore.errors import FeatureStoreError, SourceChanged
from fstore.fingerprint.identification import identify
from fstore.fingerprint.parquet_source import ParquetReader
from fstore.fingerprint.stamps import SourceStamp
from tests import sample_features

_case = count()


def name() -> str:
    """Make a name that no other test uses."""
    return f"tests:changing-{os.getpid()}-{next(_case)}"


def doubled_here(**options):
    """Wrap a function that doubles ``x``, to be computed in this process."""
    return fstore.local(
        lambda raw, config: raw[["x"]] * 2 + config.get("n", 0) * 0, version="1", name=name(), **options
    )


def test_a_submitted_local_feature_gets_what_was_submitted(staffed):
    """Whatever the trainer does to its frame, or to the array below it, after it asked."""
    numbers = np.arange(8.0)
    frame, feature = pd.DataFrame({"x": numbers}, copy=False), doubled_here()
    tickets, expected = [], []
    for case in range(4):
        expected.append((frame["x"] * 2).tolist())
        tickets.append(staffed.store.submit("S", frame, {"n": case}, feature))
        numbers += 10
        if case == 1:
            frame["x"] += 1000

    assert [ticket.result(timeout=30)["x"].tolist() for ticket in tickets] == expected


@pytest.mark.parametrize("where", ["local", "worker"])
def test_joining_results_while_they_come_changes_none_of_them(staffed, where):
    """The natural loop: one frame, several features, each result joined to the frame as it comes; some are hits."""
    feature = doubled_here() if where == "local" else sample_features.scaled
    raw = pd.DataFrame({"x": np.arange(6.0)})
    asked = [fstore.Request("JOIN", raw, {"n": n, "factor": 2, "where": where}, feature) for n in range(4)]
    staffed.store.get_or_compute("JOIN", raw, asked[2].config, feature, timeout=30)
    kept = []

    for request, frame in staffed.store.get_or_compute_many(asked, timeout=60):
        raw[f"f{request.config['n']}"] = frame["x"]
        raw.loc[0, "x"] = -1.0
        kept.append(frame["x"].tolist())

    assert kept == [[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]] * 4


def test_a_batch_belongs_to_the_moment_it_was_asked_for(staffed):
    """Not to the moment its first result is looked at."""
    raw = pd.DataFrame({"x": [1.0, 2.0]})
    results = staffed.store.get_or_compute_many([fstore.Request("LATE", raw, {}, doubled_here())], timeout=30)
    raw["x"] = 0.0

    ((_, frame),) = results

    assert frame["x"].tolist() == [2.0, 4.0]


def refilled_frame(step, held):
    held.setdefault("frame", pd.DataFrame({"x": [0.0, 0.0]})).iloc[:, 0] = float(step)
    return held["frame"]


def refilled_array(step, held):
    if not held:
        held["array"] = np.zeros(2)
        held["frame"] = pd.DataFrame({"x": held["array"]}, copy=False)
    held["array"][:] = step
    return held["frame"]


def new_frame_over_array(step, held):
    held.setdefault("array", np.zeros(2))[:] = step
    return pd.DataFrame({"x": held["array"]}, copy=False)


def table_over_array(step, held):
    array = held.setdefault("array", np.zeros(2))
    array[:] = step
    return held.setdefault("table", pa.table({"x": pa.array(array)}))


def batch_over_array(step, held):
    array = held.setdefault("array", np.zeros(2))
    array[:] = step
    return pa.RecordBatch.from_arrays([pa.array(array)], names=["x"])


def stream_over_array(step, held):
    array = held.setdefault("array", np.zeros(2))
    array[:] = step

    class Stream:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table({"x": pa.array(array)}).__arrow_c_stream__(requested_schema)

    return held.setdefault("stream", Stream())


REFILLS = [refilled_frame, refilled_array, new_frame_over_array, table_over_array, batch_over_array, stream_over_array]


@pytest.mark.parametrize("where", ["local", "worker"])
@pytest.mark.parametrize("refill", REFILLS)
def test_a_generator_may_refill_its_buffer(staffed, refill, where):
    """Each result belongs to what the buffer, and the config, held when the request was given."""
    feature, mark = (doubled_here() if where == "local" else sample_features.scaled), name()
    config: dict[str, object] = {"factor": 2, "mark": mark}

    def requests():
        held: dict[str, object] = {}
        for step in range(5):
            config["n"] = step
            yield fstore.Request(f"S{step}", refill(step, held), config, feature)

    answers = {request.symbol: frame["x"].tolist() for request, frame in staffed.store.get_or_compute_many(requests())}

    assert answers == {f"S{step}": [2.0 * step] * 2 for step in range(5)}


@pytest.mark.parametrize("refill", REFILLS)
def test_peeking_with_a_generator_looks_at_each_content(staffed, refill):
    """What was computed is found for the request that it belongs to, and for no other."""
    feature = doubled_here()
    staffed.store.get_or_compute("P", pd.DataFrame({"x": [2.0, 2.0]}), {}, feature, timeout=30)
    held: dict[str, object] = {}

    found = list(staffed.store.peek_many(fstore.Request("P", refill(step, held), {}, feature) for step in range(4)))

    assert [entry is not None for _, entry in found] == [False, False, True, False]


def test_a_list_that_shares_a_frame_is_fingerprinted_once(staffed, monkeypatch):
    """A thousand requests over one frame cost one scan."""
    seen = []
    monkeypatch.setattr("fstore.client.request.identify", _counting(seen))
    raw = pd.DataFrame({"x": [1.0]})
    asked = [fstore.Request("ONE", raw, {"n": n}, sample_features.scaled) for n in range(50)]

    list(staffed.store.peek_many(asked))
    list(staffed.store.peek_many(tuple(asked)))

    assert len(seen) == 2


def _counting(seen):
    from fstore.client.request import identify

    def counted(raw, **options):
        seen.append(raw)
        return identify(raw, **options)

    return counted


def test_a_relation_that_answers_otherwise_each_time_is_asked_once(staffed):
    """One reading is fingerprinted, staged and computed from."""

    class Growing:
        reads = 0

        def __arrow_c_stream__(self, requested_schema=None):
            self.reads += 1
            return pa.table({"x": [float(self.reads)]}).__arrow_c_stream__(requested_schema)

    for feature in (doubled_here(), sample_features.scaled):
        relation = Growing()
        frame = staffed.store.get_or_compute("GROW", relation, {"mark": name()}, feature, timeout=30)
        assert (frame["x"].item(), relation.reads) == (2.0, 1)


def write(path, values):
    pq.write_table(pa.table({"x": [float(value) for value in values]}), path)


def pages_overwritten(path):
    """Put other pages, as valid as the old ones, below the footer and seal of an ingested file."""
    other = path.with_name("other.parquet")
    fstore_ingest(other, [7.0, 8.0, 9.0])
    old, new = bytearray(path.read_bytes()), other.read_bytes()
    end = len(old) - int.from_bytes(old[-8:-4], "little") - 8
    old[:end] = new[:end]
    path.write_bytes(old)


def fstore_ingest(path, values):
    from fstore.ingest.ingestion import ingest

    return ingest(pd.DataFrame({"x": values}), path)


@pytest.mark.parametrize("wanted", ["pandas", "arrow", "dataset"])
def test_a_seal_over_other_pages_makes_no_result_here(staffed, tmp_path, wanted):
    """An interrupted copy in place: the footer says one thing and the pages another."""
    source = fstore_ingest(tmp_path / "ticks.parquet", [1.0, 2.0, 3.0])
    pages_overwritten(source.path)
    feature = fstore.local(lambda raw, config: pd.DataFrame({"n": [1]}), version="1", name=name(), input=wanted)

    with staffed.open(data_roots=str(tmp_path)) as store, pytest.raises(SourceChanged):
        store.get_or_compute("SEAL", source, {}, feature, timeout=30)


def replaced(path):
    write(path.with_name("new"), [7, 8, 9])
    path.with_name("new").rename(path)


def in_place(path):
    stats = path.stat()
    write(path, [7, 8, 9])
    os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))


def and_back(path):
    path.rename(path.with_name("kept"))
    write(path, [7, 8, 9])
    yield
    path.with_name("kept").rename(path)


def copied_back(path):
    old = path.read_bytes()
    write(path, [7, 8, 9])
    yield
    path.write_bytes(old)


def removed(path):
    path.unlink()


def appended(path):
    write(path.with_name("b.parquet"), [4])


CHANGES = [replaced, in_place, and_back, copied_back, removed]


@pytest.fixture
def settled(monkeypatch):
    """Let files count as settled at once, or never."""

    def be(is_settled):
        monkeypatch.setattr(SourceStamp, "is_settled", lambda stamp, now_ns: is_settled)

    return be


@pytest.mark.parametrize("is_settled", [True, False])
@pytest.mark.parametrize("is_folder", [False, True])
@pytest.mark.parametrize("change", [*CHANGES, appended])
def test_a_source_that_changes_while_a_feature_streams_it_makes_no_result(
    staffed, tmp_path, change, is_folder, is_settled, settled
):
    """Replaced, written in place with its times put back, away and back again, removed or joined by another file."""
    if change is appended and not is_folder:
        pytest.skip("a file is joined by none")
    settled(is_settled)
    folder = tmp_path / "ticks"
    folder.mkdir()
    write(folder / "a.parquet", [1, 2, 3])
    source = fstore.ParquetSource(folder if is_folder else folder / "a.parquet")

    def total(dataset, config):
        act = change(folder / "a.parquet")
        next(act, None) if act is not None else None
        try:
            result = pd.DataFrame({"total": [dataset.to_table()["x"].to_pandas().sum()]})
        except (OSError, pa.ArrowException):
            result = pd.DataFrame({"total": [0.0]})
        next(act, None) if act is not None else None
        return result

    feature = fstore.local(total, version="1", name=name(), input="dataset")
    with staffed.open(data_roots=str(tmp_path)) as store:
        with pytest.raises(SourceChanged):
            store.get_or_compute("LIVE", source, {}, feature, timeout=30)
        if (folder / "a.parquet").exists():
            assert store.peek("LIVE", source, {}, feature) is None


def test_a_source_that_changes_before_a_lazy_result_is_read_makes_no_result(staffed, tmp_path):
    """A feature may return a stream over its data set, which is read after the feature has returned."""
    path = tmp_path / "lazy.parquet"
    write(path, [1, 2, 3])

    def lazily(dataset, config):
        batches = dataset.to_batches()

        def late():
            replaced(path)
            yield from batches

        return pa.RecordBatchReader.from_batches(dataset.schema, late())

    feature = fstore.local(lazily, version="1", name=name(), input="dataset")
    with staffed.open(data_roots=str(tmp_path)) as store, pytest.raises(SourceChanged):
        store.get_or_compute("LAZY", fstore.ParquetSource(path), {}, feature, timeout=30)


@pytest.mark.parametrize("kind", ["pandas", "arrow", "dataset"])
def test_a_stream_that_can_be_read_once_is_a_result(staffed, kind):
    """What a feature returns as a reader is read once, compared and stored like a table."""

    def streams(raw, config):
        return pa.table({"y": [1, 2, 3]}).to_reader()

    feature = fstore.local(streams, version="1", name=name(), input=kind)
    raw = pa.table({"x": [1.0]})

    assert staffed.store.get_or_compute("R", raw, {}, feature, returns="arrow").to_pydict() == {"y": [1, 2, 3]}
    assert staffed.store.get_or_compute("R", raw, {}, feature)["y"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("count", [1, 3])
def test_a_worker_publishes_nothing_of_a_source_that_changed_under_it(staffed, count):
    """The same in a worker, for a single request and for a chunk."""
    folder = staffed.root.parent / name()
    folder.mkdir()
    asked = []
    for n in range(count):
        write(folder / f"{n}.parquet", [1, 2, n])
        write(folder / f"{n}.new", [7, 8, 9])
        source = fstore.ParquetSource(folder / f"{n}.parquet")
        asked.append(
            fstore.Request("W", source, {"new": str(folder / f"{n}.new")}, sample_features.total_while_replaced)
        )

    answers = list(staffed.store.get_or_compute_many(asked, timeout=30, errors="return"))

    assert [type(answer) for _, answer in answers] == [SourceChanged] * count


def test_a_source_too_fresh_to_tell_by_its_times_is_digested_again(tmp_path, monkeypatch):
    """A change within one step of the file system's clock shows in no time."""
    path = tmp_path / "fresh.parquet"
    write(path, [1, 2, 3])
    source = fstore.ParquetSource(path)
    stamp = ParquetReader(source).stamp()
    monkeypatch.setattr(ParquetReader, "stamp", lambda _: stamp)
    raw = Taker().take(source, fingerprint_of(source), wanted="dataset")

    write(path, [7, 8, 9])

    with pytest.raises(SourceChanged):
        raw.settle(pd.DataFrame())


def fingerprint_of(raw):
    """Take the fingerprint of raw data."""
    return identify(raw, threshold_bytes=1 << 30).fingerprint


def test_an_untouched_source_makes_a_result(staffed, tmp_path):
    """Fresh or old, read by others meanwhile or not."""
    path = tmp_path / "still.parquet"
    write(path, [1, 2, 3])

    def total(dataset, config):
        assert isinstance(dataset, ds.Dataset)
        pq.read_table(path)
        return pd.DataFrame({"total": [dataset.to_table()["x"].to_pandas().sum()]})

    with staffed.open(data_roots=str(tmp_path)) as store:
        feature = fstore.local(total, version="1", name=name(), input="dataset")
        assert store.get_or_compute("STILL", fstore.ParquetSource(path), {}, feature, timeout=30)["total"].item() == 6.0


def test_a_source_replaced_after_it_was_submitted_makes_no_result(staffed, tmp_path):
    """Whatever is read in this process is digested, whole."""
    path = tmp_path / "submitted.parquet"
    write(path, [1, 2, 3])

    with staffed.open(data_roots=str(tmp_path)) as store:
        asked = store._prepare("SUB", fstore.ParquetSource(path), {}, doubled_here())
        replaced(path)
        with pytest.raises(FeatureStoreError):
            Taker().take(asked.raw_data, asked.fingerprint, wanted="pandas")
