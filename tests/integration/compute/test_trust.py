"""What a trainer that has the signing key may not do: answer for workers, or have a worker delete what it names."""

from __future__ import annotations

from contextlib import suppress

import pandas as pd
import pytest

import fstore
from fstore.broker.messages import PublishRequest, RawReference, parse_compute
from fstore.client import local_publish
from fstore.compute.executor import execute
from fstore.compute.raw_data import stage_raw
from fstore.compute.recovery import Recovery
from fstore.compute.staged_results import publish_staged
from fstore.errors import ComputeFailed, FeatureStoreError, InvalidRequest, ResultNotTrusted, SourceNotAllowed
from fstore.model import ComputedFacts, FailureNote
from fstore.results.codec import encode_result
from fstore.runtime.versions import library_versions
from fstore.upkeep.recompute import Recomputer
from tests.sample_features import scaled

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})


def computed(house, config, feature=scaled, raw=RAW):
    """Compute as a worker would; returns the question and the entry."""
    resources = house.store.resources
    asked = house.store._prepare("X", raw, config, feature)
    execute(resources, asked.message(stage_raw(resources.staging, raw, asked.fingerprint)), phase=lambda _: None)
    return asked, resources.manifest.find_entry(asked.key)


def forged(house, asked, *, path=None, claim=None):
    """Stage a wrong result for a question under a claim of its own, as a trainer can, and return the message."""
    resources = house.store.resources
    claim = claim or resources.jobs.claim(
        asked.key, asked.message(stage_raw(resources.staging, RAW, asked.fingerprint)).wire()
    )
    facts = ComputedFacts(
        key=asked.key, parts=asked.parts, hash_method=asked.fingerprint.method, source_digest=asked.feature.source_digest,
        source={"kind": "staged", "path": "-"}, compute_seconds=0.1, library_versions=library_versions(),
    )  # fmt: skip
    wrong = resources.staging.write_result(asked.key, encode_result(RAW * -100))
    digest = resources.staging.read_result(wrong).digest
    return PublishRequest.of(facts, claim, staged_path=path or wrong, staged_digest=digest)


def test_a_trainers_result_of_a_workers_feature_is_not_published(house):
    """Whoever asks next has a worker compute it, at once; the refusal is counted."""
    asked = house.store._prepare("X", RAW, {"factor": 2}, scaled)

    with pytest.raises(ResultNotTrusted, match="TRUST_STAGED_RESULTS"):
        publish_staged(house.store.resources, forged(house, asked))

    assert house.store.peek("X", RAW, {"factor": 2}, scaled) is None
    assert house.store.resources.jobs.find(asked.key) is None
    _, entry = computed(house, {"factor": 2})
    assert house.store.get_or_compute("X", RAW, {"factor": 2}, scaled).equals(RAW * 2)
    assert entry is not None
    house.store.resources.recorder.flush()
    assert house.store.get_cache_stats()["results_refused"] == 1


def test_an_administrator_may_trust_trainers(house):
    """By one setting, which is off unless it is set."""
    with house.open(trust_staged_results=True) as store:
        asked = store._prepare("X", RAW, {"factor": 2}, scaled)
        assert publish_staged(store.resources, forged(house, asked)).locator is not None


def test_a_trainers_own_feature_is_published_as_ever(house, monkeypatch):
    """Its name, hence its key, is no worker's."""
    monkeypatch.setattr(
        house.store.resources.broker, "send_publish", lambda request: publish_staged(house.store.resources, request)
    )
    monkeypatch.setattr(local_publish, "PUBLISHED_WITHIN_S", 5)
    own = fstore.local(lambda raw, config: raw * 3, version="1", name="own")
    assert house.store.get_or_compute("X", RAW, {}, own, timeout=20).equals(RAW * 3)
    assert house.store.peek("X", RAW, {}, own) is not None


@pytest.mark.parametrize("feature", ["local:../../x", "local:", "LOCAL:x", "xlocal:x", "tests.sample_features:scaled"])
def test_a_name_does_not_lead_to_another_features_key(house, feature):
    """A message that names a feature of the trainer's own with a worker's key is refused."""
    asked = house.store._prepare("X", RAW, {"factor": 2}, scaled)
    request = forged(house, asked).model_copy(update={"feature": feature})
    with pytest.raises(FeatureStoreError):
        publish_staged(house.store.resources, request)
    assert house.store.peek("X", RAW, {"factor": 2}, scaled) is None


def names(house, entry, staged):
    """Return what a message may name that is not what was staged for it, with the file each would hurt."""
    link = house.root / "staging" / "results" / f"{entry.key}.link.parquet"
    link.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError):
        link.symlink_to(house.root / entry.path)
    shard = house.root / "staging" / "raw" / "ff"
    with suppress(FileExistsError):
        shard.symlink_to(house.root / "entries" / entry.key[:2])
    (house.root / "entries" / entry.key[:2] / f"{'ff' * 32}.arrow").write_bytes(b"a stranger's")
    (house.root / "stack.json").write_text("{}")
    return [
        "STORE_ID", entry.path, "stack.json", str(house.root / "STORE_ID"), f"staging/../{entry.path}", "staging/raw/../../STORE_ID",
        str(link.relative_to(house.root)), f"staging/raw/ff/{'ff' * 32}.arrow", "staging", "", ".", "../outside", staged,
    ]  # fmt: skip


def files(house):
    return {path: path.lstat().st_size for path in house.root.rglob("*") if path.is_symlink() or path.is_file()}


def test_nothing_is_deleted_on_a_callers_word(house):
    """Whatever a request names as staged raw data, by message or by job row, is there afterwards as it was before."""
    resources = house.store.resources
    (house.folder if hasattr(house, "folder") else house.root.parent).joinpath("outside").write_text("mine")
    _, entry = computed(house, {"factor": 9})
    other = RAW + 1
    staged = stage_raw(resources.staging, other, house.store._prepare("X", other, {}, scaled).fingerprint).path
    for number, path in enumerate(names(house, entry, staged)):
        asked = house.store._prepare("X", RAW, {"factor": number + 100}, scaled)
        before = files(house)
        with suppress(FeatureStoreError, ValueError):
            request = asked.message(RawReference(kind="staged", path=path or "-"))
            execute(resources, parse_compute(request.wire()), phase=lambda _: None)
        assert files(house) == before, path
        assert house.store.peek("X", RAW, {"factor": number + 100}, scaled) is None


def test_no_result_is_published_or_deleted_that_was_not_staged_for_it(house):
    """The same for the paths of results, of trainers' own features."""
    resources = house.store.resources
    _, entry = computed(house, {"factor": 9})
    own = fstore.local(lambda raw, config: raw * 3, version="1", name="own")
    others = resources.staging.write_result(entry.key, encode_result(RAW))
    for number, path in enumerate([*names(house, entry, others), others]):
        asked = house.store._prepare("X", RAW, {"n": number}, own)
        request = forged(house, asked, path=path or "-")
        before = files(house)
        with pytest.raises((InvalidRequest, SourceNotAllowed)):
            publish_staged(resources, request)
        assert files(house) == before, path


def test_a_message_without_the_claim_deletes_nobody_elses_result(house):
    """Who guesses a claim, and names a result that waits for its own message, leaves it there."""
    resources = house.store.resources
    own = fstore.local(lambda raw, config: raw * 3, version="1", name="own")
    asked = house.store._prepare("X", RAW, {}, own)
    good = forged(house, asked)
    with suppress(FeatureStoreError):
        publish_staged(resources, good.model_copy(update={"owner": "somebody"}))
    assert (house.root / good.staged_path).exists()
    assert publish_staged(resources, good).locator is not None


def test_entries_whose_rows_name_odd_sources_are_not_asked_for_again(house):
    """A row's source came with a request; recomputing follows it no further than a message."""
    resources = house.store.resources
    _, entry = computed(house, {"factor": 9})
    resources.database.transact("UPDATE manifest SET state = 'quarantined', source = %(source)s WHERE key = %(key)s", {
        "key": entry.key, "source": '{"kind": "staged", "path": "STORE_ID"}'})  # fmt: skip
    found = resources.manifest.find_entry(entry.key)
    again = Recomputer(resources.jobs, resources.broker, resources.staging, resources.memo, resources.settings)
    assert not again.ask_again(found)
    assert (house.root / "STORE_ID").exists()


def test_damaged_raw_data_are_still_removed(house):
    """What fstore itself staged and finds spoiled goes, so that the next request stages it anew."""
    resources = house.store.resources
    asked = house.store._prepare("X", RAW, {"factor": 3}, scaled)
    reference = stage_raw(resources.staging, RAW, asked.fingerprint)
    file = house.root / reference.path
    file.chmod(0o640)
    file.write_bytes(b"rot")
    with pytest.raises(FeatureStoreError):
        execute(resources, asked.message(reference), phase=lambda _: None)
    assert not file.exists()


def test_a_job_row_longer_than_a_message_is_not_read(house, monkeypatch):
    """Rows are written by trainers: neither who sends lost jobs again nor who explains one decodes megabytes."""
    resources = house.store.resources
    sent = []
    monkeypatch.setattr(resources.broker, "send_compute", sent.append)
    asked = [house.store._prepare("X", RAW, {"factor": n}, scaled) for n in (1, 2)]
    wires = [each.message(stage_raw(resources.staging, RAW, each.fingerprint)).wire() for each in asked]
    resources.jobs.enqueue({asked[0].key: {**wires[0], "config": {"x": ["y"] * 5_000_000}}, asked[1].key: wires[1]})
    resources.database.transact("UPDATE jobs SET requested_ts = now() - interval '1 day', sent_ts = NULL")

    came_to = Recovery.of(resources).resend()

    assert (came_to.sent, list(came_to.refused)) == ([asked[1].key], [asked[0].key])
    assert [request.key for request in sent] == [asked[1].key]
    assert resources.jobs.find(asked[0].key).request == {}


def test_a_note_longer_than_fstore_makes_is_not_read(house):
    """Every waiter reads it at every look."""
    resources = house.store.resources
    asked = house.store._prepare("X", RAW, {"factor": 1}, scaled)
    claim = resources.jobs.claim(asked.key, asked.message(stage_raw(resources.staging, RAW, asked.fingerprint)).wire())
    assert resources.jobs.fail(claim, FailureNote("E", "x" * 5_000_000))
    with pytest.raises(ComputeFailed, match="too long to be read"):
        house.store.get_or_compute("X", RAW, {"factor": 1}, scaled, timeout=5)
