"""Results of a chunk that share a file: what happens to one of them is no business of the others."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pytest

from fstore.client.request import prepare
from fstore.compute import publishing
from fstore.compute.batches import executor as batch_executor
from fstore.compute.batches.executor import execute_batch
from fstore.compute.publishing import Publisher
from fstore.compute.raw_data import stage_raw, stage_raw_together
from fstore.storage.layout import packed_at, raw_part_at
from fstore.storage.packed.small_form import is_small_form
from tests import sample_features

RAW = pd.DataFrame({"price": [float(i) for i in range(40)]})


def chunk_of(resources, name, functions, *, together=True):
    """Register computations of data of their own, staged together or one by one."""
    asked = [prepare(resources, name, RAW + n, {"n": n}, function) for n, function in enumerate(functions)]
    raw = [(one.raw_data, one.fingerprint) for one in asked]
    if together:
        references = stage_raw_together(resources.staging, raw)
    else:
        references = [stage_raw(resources.staging, *each) for each in raw]
    requests = [one.message(reference) for one, reference in zip(asked, references, strict=True)]
    resources.jobs.enqueue({request.key: request.wire() for request in requests})
    return requests


def test_one_that_fails_is_told_and_the_others_share_a_file(house):
    """In Arrow's form, each of them read back as what the function returned."""
    resources = house.store.resources
    functions = [sample_features.scaled, sample_features.failing, sample_features.scaled, sample_features.scaled]
    requests = chunk_of(resources, "FAILS", functions)
    assert all(raw_part_at(request.raw_data.path) for request in requests)

    answers = execute_batch(resources, requests, phase=lambda _: None)

    assert [answer["status"] for answer in answers] == ["computed", "failed", "computed", "computed"]
    packs = {packed_at(answer["path"]).path for answer in answers if answer["status"] == "computed"}
    assert len(packs) == 1
    for n in (0, 2, 3):
        found = resources.manifest.find_live(requests[n].key)
        assert is_small_form(resources.entries.read_bytes(found))
        pd.testing.assert_frame_equal(house.store.load(answers[n]), (RAW + n) * 2)


def test_a_claim_that_was_lost_keeps_one_result_out_and_no_other(house, monkeypatch):
    """The fence is each row's own, though file, statement and announcement are one."""
    resources = house.store.resources
    requests = chunk_of(resources, "LOST", [sample_features.scaled] * 4)
    lost, insert = requests[1].key, Publisher.insert

    def insert_late(publisher, pending):
        resources.database.query(
            "UPDATE jobs SET attempt = attempt + 1, owner = 'another' WHERE key = %(key)s", {"key": lost}
        )
        return insert(publisher, pending)

    monkeypatch.setattr(Publisher, "insert", insert_late)
    answers = execute_batch(resources, requests, phase=lambda _: None)

    assert [answer["status"] for answer in answers] == ["computed", "coalesced", "computed", "computed"]
    assert resources.manifest.find_live(lost) is None
    assert resources.database.query("SELECT owner FROM jobs WHERE key = %(key)s", {"key": lost}) == [("another",)]
    for n in (0, 2, 3):
        pd.testing.assert_frame_equal(house.store.load(answers[n]), (RAW + n) * 2)


def test_one_whose_raw_data_are_damaged_is_told_and_no_other(house):
    """Of data staged as one file, the digest of each is its own."""
    resources = house.store.resources
    requests = chunk_of(resources, "ROT", [sample_features.scaled] * 3)
    part = raw_part_at(requests[1].raw_data.path)
    file = house.settings.path / part.path
    data = bytearray(file.read_bytes())
    data[data.index(pa.array([20.0, 21.0]).buffers()[1].to_pybytes(), part.offset)] ^= 1
    file.chmod(0o640)
    file.write_bytes(data)

    answers = execute_batch(resources, requests, phase=lambda _: None)

    assert [answer["status"] for answer in answers] == ["computed", "failed", "computed"]
    assert answers[1]["error"]["type"] == "SourceChanged"


def test_a_result_that_would_come_back_changed_is_refused_within_a_group(house, monkeypatch):
    """The bytes that will be served are decoded and compared for each, also after the first of its shape passed."""
    resources = house.store.resources
    requests = chunk_of(resources, "CHANGED", [sample_features.scaled] * 4)
    encode, made = publishing.small_bytes, []

    def spoilt(table):
        made.append(table)
        if len(made) == 3:
            values = table.column(0).to_pylist()
            table = table.set_column(0, table.schema.field(0), pa.array([*values[:-1], values[-1] + 1e-9]))
        return encode(table)

    monkeypatch.setattr(publishing, "small_bytes", spoilt)
    answers = execute_batch(resources, requests, phase=lambda _: None)

    assert [answer["status"] for answer in answers] == ["computed", "computed", "failed", "computed"]
    assert answers[2]["error"]["type"] == "UnstorableResult"


@pytest.mark.parametrize("together", [True, False])
def test_a_result_that_is_alone_is_a_file_that_pandas_opens(house, together):
    """Though it waited for others as a small one, whose form is another."""
    resources = house.store.resources
    requests = chunk_of(
        resources, f"ALONE{together}", [sample_features.scaled, sample_features.failing], together=together
    )
    answers = execute_batch(resources, requests, phase=lambda _: None)
    assert [answer["status"] for answer in answers] == ["computed", "failed"]
    assert packed_at(answers[0]["path"]) is None
    pd.testing.assert_frame_equal(pd.read_parquet(house.settings.path / answers[0]["path"]), RAW * 2)


def test_a_stop_in_a_group_publishes_what_is_done(house, monkeypatch):
    """And gives the rest back: nobody waits for a lease."""
    resources = house.store.resources
    requests = chunk_of(resources, "STOP", [sample_features.scaled] * 4)
    read, seen = batch_executor._Batch._read, []

    def stopped(batch, computation):
        seen.append(computation.key)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(batch, computation)

    monkeypatch.setattr(batch_executor._Batch, "_read", stopped)
    with pytest.raises(KeyboardInterrupt):
        execute_batch(resources, requests, phase=lambda _: None)

    assert [resources.manifest.find_live(key) is not None for key in seen] == [True, True, False]
    left = {request.key for request in requests} - set(seen[:2])
    assert all(resources.jobs.find(key).state == "queued" for key in left)
