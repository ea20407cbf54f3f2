"""Raw data in a bucket, from a trainer's request to a worker's computation, in a store of either kind."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import fstore
from fstore.errors import SourceChanged, SourceNotAllowed
from fstore.ingest import ingest
from tests import sample_features
from tests.conftest import House, run_sql
from tests.object_servers import Bucket

FRAME = pd.DataFrame({"price": [float(i) for i in range(500)]})


def put(raw: Bucket, folder: Path, frame: pd.DataFrame, key: str = "ticks/es.parquet") -> fstore.ParquetSource:
    file = folder / "made.parquet"
    file.unlink(missing_ok=True)
    ingest(frame, file)
    raw.put(key, file.read_bytes())
    return fstore.ParquetSource(f"s3://{raw.name}/{key}")


def ask(reader: House, source: fstore.ParquetSource, factor: int = 2) -> pd.DataFrame:
    return reader.store.get_or_compute("ES", source, {"factor": factor}, sample_features.scaled, timeout=60)


def test_a_worker_computes_from_what_was_fingerprinted(reader, raw, proxy, tmp_path):
    """Trainers read the end of the file and no more; the manifest keeps address and version, and nothing else."""
    source = put(raw, tmp_path, FRAME)
    reader.start()
    assert ask(reader, source).equals(FRAME * 2)
    ((kept,),) = run_sql(reader.environment["FEATURE_STORE_POSTGRES_URL"], "SELECT source FROM manifest")
    version = raw.client.head_object(Bucket=raw.name, Key="ticks/es.parquet")["VersionId"]
    assert kept == {"kind": "parquet", "path": str(source.path), "version": version}
    before = len(proxy.requests)
    assert ask(reader, source).equals(FRAME * 2)
    assert [one.header("range") for one in proxy.requests[before:]] == ["bytes=-65536"]
    put(raw, tmp_path, FRAME + 1)
    assert ask(reader, source).equals((FRAME + 1) * 2)
    assert list((tmp_path / "scratch").glob("*/s-*")) == []


def test_a_request_is_answered_for_the_version_it_named_though_another_was_written(reader, raw, tmp_path):
    """Between the trainer's look and the worker's; once that version is gone, the source changed."""
    source = put(raw, tmp_path, FRAME)
    asked = reader.store._prepare("ES", source, {"factor": 3}, sample_features.scaled)
    gone = reader.store._prepare("ES", source, {"factor": 4}, sample_features.scaled)
    version = asked.raw_data.version
    put(raw, tmp_path, FRAME + 1)
    reader.start()
    from fstore.compute import Taker

    loaded = Taker().take(asked.raw_data, asked.fingerprint, wanted="pandas")
    assert loaded.value.equals(FRAME)
    raw.client.delete_object(Bucket=raw.name, Key="ticks/es.parquet", VersionId=version)
    gone.raw_data._copied = None
    with pytest.raises(SourceChanged):
        Taker().take(gone.raw_data, gone.fingerprint, wanted="pandas")


@pytest.mark.parametrize("key", ["other/es.parquet", "ticks2/es.parquet", "ticks.parquet"])
def test_what_lies_outside_the_data_roots_is_refused(reader, raw, proxy, tmp_path, key):
    """Before anything is read, by trainers and by workers."""
    source = put(raw, tmp_path, FRAME, key)
    with pytest.raises(SourceNotAllowed, match="DATA_ROOTS"):
        ask(reader, source)
    assert proxy.requests == []


def test_a_worker_believes_no_trainer_about_where_to_read(reader, raw, proxy, tmp_path):
    """A request for a place outside its own roots fails there, whatever the trainer's settings say."""
    source = put(raw, tmp_path, FRAME, "other/es.parquet")
    reader.start()
    with reader.open(data_roots=f"s3://{raw.name}/other") as store, pytest.raises(SourceNotAllowed):
        store.get_or_compute("ES", source, {"factor": 2}, sample_features.scaled, timeout=30)
