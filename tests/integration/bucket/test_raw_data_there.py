"""Raw data in a bucket, from a trainer's request to a worker's computation, in a store of either kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest

import fstore
from fstore.errors import SourceChanged, SourceNotAllowed
from fstore.ingest import ingest
from tests import sample_features
from tests.conftest import House, Servers, build_house, run_sql
from tests.faults.harness.http_proxy import HttpProxy
from tests.object_servers import Bucket, ObjectServer

FRAME = pd.DataFrame({"price": [float(i) for i in range(500)]})


@pytest.fixture
def raw(radosgw: ObjectServer) -> Bucket:
    """A bucket with versions, on a server that gives parts of them."""
    return radosgw.new_bucket(versioned=True)


@pytest.fixture
def proxy(radosgw: ObjectServer) -> Iterator[HttpProxy]:
    with HttpProxy(radosgw.address) as proxy:
        yield proxy


@pytest.fixture
def house(servers: Servers, tmp_path: Path, raw: Bucket, proxy: HttpProxy) -> Iterator[House]:
    """A store in a folder whose trainers and workers may read one prefix of the bucket."""
    with ExitStack() as stack:
        given = {
            **raw.settings(endpoint=proxy.endpoint),
            "data_roots": f"s3://{raw.name}/ticks",
            "scratch": str(tmp_path / "scratch"),
        }
        given.pop("path")
        yield build_house(servers, tmp_path, stack, **given)


def put(raw: Bucket, folder: Path, frame: pd.DataFrame, key: str = "ticks/es.parquet") -> fstore.ParquetSource:
    file = folder / "made.parquet"
    file.unlink(missing_ok=True)
    ingest(frame, file)
    raw.put(key, file.read_bytes())
    return fstore.ParquetSource(f"s3://{raw.name}/{key}")


def ask(house: House, source: fstore.ParquetSource, factor: int = 2) -> pd.DataFrame:
    return house.store.get_or_compute("ES", source, {"factor": factor}, sample_features.scaled, timeout=60)


def test_a_worker_computes_from_what_was_fingerprinted(house, raw, proxy, tmp_path):
    """Trainers read the end of the file and no more; the manifest keeps address and version, and nothing else."""
    source = put(raw, tmp_path, FRAME)
    house.start()
    assert ask(house, source).equals(FRAME * 2)
    ((kept,),) = run_sql(house.environment["FEATURE_STORE_POSTGRES_URL"], "SELECT source FROM manifest")
    version = raw.client.head_object(Bucket=raw.name, Key="ticks/es.parquet")["VersionId"]
    assert kept == {"kind": "parquet", "path": str(source.path), "version": version}
    before = len(proxy.requests)
    assert ask(house, source).equals(FRAME * 2)
    assert [one.header("range") for one in proxy.requests[before:]] == ["bytes=-65536"]
    put(raw, tmp_path, FRAME + 1)
    assert ask(house, source).equals((FRAME + 1) * 2)
    assert list((tmp_path / "scratch").glob("*/s-*")) == []


def test_a_request_is_answered_for_the_version_it_named_though_another_was_written(house, raw, tmp_path):
    """Between the trainer's look and the worker's; once that version is gone, the source changed."""
    source = put(raw, tmp_path, FRAME)
    asked = house.store._prepare("ES", source, {"factor": 3}, sample_features.scaled)
    gone = house.store._prepare("ES", source, {"factor": 4}, sample_features.scaled)
    version = asked.raw_data.version
    put(raw, tmp_path, FRAME + 1)
    house.start()
    from fstore.compute import Taker

    loaded = Taker().take(asked.raw_data, asked.fingerprint, wanted="pandas")
    assert loaded.value.equals(FRAME)
    raw.client.delete_object(Bucket=raw.name, Key="ticks/es.parquet", VersionId=version)
    gone.raw_data._copied = None
    with pytest.raises(SourceChanged):
        Taker().take(gone.raw_data, gone.fingerprint, wanted="pandas")


@pytest.mark.parametrize("key", ["other/es.parquet", "ticks2/es.parquet", "ticks.parquet"])
def test_what_lies_outside_the_data_roots_is_refused(house, raw, proxy, tmp_path, key):
    """Before anything is read, by trainers and by workers."""
    source = put(raw, tmp_path, FRAME, key)
    with pytest.raises(SourceNotAllowed, match="DATA_ROOTS"):
        ask(house, source)
    assert proxy.requests == []


def test_a_worker_believes_no_trainer_about_where_to_read(house, raw, proxy, tmp_path):
    """A request for a place outside its own roots fails there, whatever the trainer's settings say."""
    source = put(raw, tmp_path, FRAME, "other/es.parquet")
    house.start()
    with house.open(data_roots=f"s3://{raw.name}/other") as store, pytest.raises(SourceNotAllowed):
        store.get_or_compute("ES", source, {"factor": 2}, sample_features.scaled, timeout=30)
