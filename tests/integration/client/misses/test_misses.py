"""What a miss does, and what it spares itself."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pandas as pd
import pytest

import fstore
from fstore import ComputeFailed, ManifestUnavailable, Request, StorageFull
from fstore.client import read_through
from fstore.client.enqueue import QUICK_TO_STAGE_CELLS, Enqueued
from fstore.client.misses import enqueuer_of
from fstore.client.request import prepare
from fstore.coordination.notifications import Notifier, Subscription, hint_channel
from fstore.fingerprint.identification import content_digest
from fstore.postgres.jobs import Jobs
from fstore.postgres.manifest import Manifest
from fstore.storage.folder.staging import FolderStaging
from tests import sample_features
from tests.waiting import eventually

RAW = pd.DataFrame({"price": np.arange(60.0)})
LARGE = pd.DataFrame({"price": np.arange(QUICK_TO_STAGE_CELLS + 1.0)})
_case = itertools.count()


def case(**config):
    """Return a config that no other test has."""
    return {"case": next(_case), **config}


@pytest.fixture
def asked(monkeypatch):
    """Note what is asked of Postgres, in its order."""
    seen = []

    def note(name, act):
        def noted(self, *args):
            seen.append(name)
            return act(self, *args)

        return noted

    for kind, name in ((Manifest, "find_live"), (Jobs, "look"), (Jobs, "enqueue")):
        monkeypatch.setattr(kind, name, note(name, getattr(kind, name)))
    return seen


def test_who_knows_that_there_is_no_entry_registers_at_once(staffed, asked):
    """Postgres is asked for the entry, told of the job, and asked how it ended."""
    staffed.store.get_or_compute("MISS", RAW, case(), sample_features.scaled, timeout=30)
    assert asked[:3] == ["find_live", "enqueue", "look"]


def test_of_many_askers_in_one_process_one_registers_and_others_look(staffed, asked):
    """A crowd of threads does not ask Redis for the lead two hundred times."""
    config = case()
    key = prepare(staffed.store.resources, "MISS", RAW, config, sample_features.scaled).key
    with staffed.store.resources.notifier.subscribe([key]):
        staffed.store.get_or_compute("MISS", RAW, config, sample_features.scaled, timeout=30)
    assert asked[:3] == ["find_live", "look", "enqueue"]


def test_a_miss_of_large_data_looks_before_it_stages(staffed, asked, tmp_path):
    """What another computes already, from a file that lies there, is not staged again at length."""
    source = staffed.store.ingest(LARGE, staffed.root / f"large-{next(_case)}.parquet")
    config = case(seconds=1.0, marks=str(tmp_path / "marks"))
    answers = []
    first = threading.Thread(
        target=lambda: answers.append(
            staffed.store.get_or_compute("MISS", source, config, sample_features.slow, timeout=30)
        )
    )
    first.start()
    eventually(
        lambda: (tmp_path / "marks").exists() and any((tmp_path / "marks").iterdir()), seconds=20, what="a start"
    )
    asked.clear()

    answers.append(staffed.store.get_or_compute("MISS", LARGE, config, sample_features.slow, timeout=30))
    first.join(30)

    assert asked[:2] == ["find_live", "look"]
    assert "enqueue" not in asked
    assert staffed.store.resources.staging.reserve(content_digest(LARGE)) is None
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert answers[0].equals(answers[1])


@pytest.mark.parametrize("trouble", ["redis", "staging"])
def test_who_cannot_register_still_learns_what_others_came_to(staffed, tmp_path, monkeypatch, trouble):
    """Without Redis, or with a folder that takes nothing: a remembered failure is told, a result on its way is waited for."""
    source = staffed.store.ingest(RAW, staffed.root / f"raw-{next(_case)}.parquet")
    failed, slow = case(marks=str(tmp_path / "failed")), case(seconds=1.5, marks=str(tmp_path / "slow"))
    with pytest.raises(ComputeFailed):
        staffed.store.get_or_compute("MISS", source, failed, sample_features.failing, timeout=30)
    staffed.store.submit("MISS", source, slow, sample_features.slow)
    nowhere = {"redis_url": "redis://127.0.0.1:1/0"} if trouble == "redis" else {}
    with staffed.open(on_unavailable="raise", **nowhere) as store:
        if trouble == "staging":
            monkeypatch.setattr(FolderStaging, "reserve", lambda *args: None)
            monkeypatch.setattr(FolderStaging, "write", refuse_to_stage)

        with pytest.raises(ComputeFailed, match="row 17"):
            store.get_or_compute("MISS", RAW, failed, sample_features.failing, timeout=30)
        assert store.get_or_compute("MISS", RAW, slow, sample_features.slow, timeout=30).equals(RAW.head(3))
    assert [len(list((tmp_path / name).iterdir())) for name in ("failed", "slow")] == [1, 1]


def refuse_to_stage(staging, digest, table):
    """Stand in for a folder that takes nothing."""
    raise StorageFull(staging.capabilities.location, "No space left on device")


def test_an_outage_just_after_registering_is_waited_out(staffed, tmp_path, monkeypatch):
    """A restart of Postgres does not make the one who asked compute for himself, though he has not looked yet."""
    config, failures = case(seconds=0.5, marks=str(tmp_path / "marks")), iter(range(3))
    look = Jobs.look

    def away(self, keys):
        if next(failures, None) is not None:
            raise ManifestUnavailable("looking", "starting up")
        return look(self, keys)

    monkeypatch.setattr(Jobs, "look", away)
    found = staffed.store.get_or_compute("MISS", RAW, config, sample_features.slow, timeout=30)

    assert found.equals(RAW.head(3))
    assert next(failures, None) is None
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_an_answer_that_is_there_is_not_waited_for(staffed, monkeypatch):
    """While a batch of the same process still listens for a key that has failed, the next caller is told at once."""
    config, waits = case(), []
    wait = Subscription.wait
    monkeypatch.setattr(Subscription, "wait", lambda self, seconds: waits.append(seconds) or wait(self, seconds))
    for _, error in many(staffed, [Request("MISS", RAW, config, sample_features.failing)]):
        assert isinstance(error, ComputeFailed)
        waits.clear()
        with pytest.raises(ComputeFailed):
            staffed.store.get_or_compute("MISS", RAW, config, sample_features.failing, timeout=30)
        assert not waits


def many(staffed, requests):
    return staffed.store.get_or_compute_many(requests, timeout=30, errors="return")


def test_only_jobs_of_ones_own_are_reported_as_made(staffed, tmp_path):
    """What another caller registered may have been settled before anybody here listened."""
    resources, config = staffed.store.resources, case(seconds=1.0, marks=str(tmp_path / "marks"))
    staffed.store.submit("MISS", RAW, config, sample_features.slow)
    theirs = prepare(resources, "MISS", RAW, config, sample_features.slow)
    mine = prepare(resources, "MISS", RAW, case(), sample_features.scaled)
    made = []

    assert enqueuer_of(resources).enqueue([theirs, mine], on_made=made.append) == Enqueued(frozenset({mine.key}))
    assert made == [{mine.key}]
    assert staffed.store.get_or_compute("MISS", RAW, config, sample_features.slow, timeout=30).equals(RAW.head(3))


def test_an_entry_found_wrong_is_looked_for_before_it_is_registered_again(staffed, monkeypatch):
    """Somebody else may have computed it anew by then."""
    read, answer_misses, told = read_through._ReadThrough._read, read_through.answer_misses, []

    def noted(*args, known_missing, **options):
        told.append(known_missing)
        return answer_misses(*args, known_missing=known_missing, **options)

    monkeypatch.setattr(read_through, "answer_misses", noted)
    monkeypatch.setattr(read_through._ReadThrough, "_read", lambda *args: read(*args) if len(told) > 1 else None)

    assert staffed.store.get_or_compute("MISS", RAW, case(), sample_features.scaled, timeout=30).equals(RAW * 2)
    assert told == [True, False]


def test_what_only_this_process_can_compute_is_looked_at_first(staffed, asked):
    """A local function is not run before it is known that nobody else runs it."""
    doubled = fstore.local(lambda raw, config: raw * 2, version="1", name=f"tests:doubled-{next(_case)}")
    assert staffed.store.get_or_compute("MISS", RAW, case(), doubled, timeout=30).equals(RAW * 2)
    assert asked[:2] == ["find_live", "look"]


def test_a_large_result_of_ones_own_is_mapped_at_once(staffed, tmp_path):
    """Twenty trainers that hold it share one copy, whoever had it computed."""
    config, local = {"seed": 1, "rows": 200_000, "case": next(_case)}, tmp_path / "local"
    with staffed.open(local_cache=str(local)) as store:
        store.get_or_compute("MISS", RAW, config, sample_features.noise, timeout=30)
        assert len(list(local.glob("*/*.arrow"))) == 1


def test_a_failure_that_is_remembered_is_told_without_a_start(staffed, tmp_path):
    """Registering at once starts nothing that has just failed."""
    config = case(marks=str(tmp_path / "marks"))
    for _ in range(3):
        with pytest.raises(ComputeFailed, match="row 17"):
            staffed.store.get_or_compute("MISS", RAW, config, sample_features.failing, timeout=30)
    assert len(list((tmp_path / "marks").iterdir())) == 1


def test_a_small_result_of_ones_own_enters_the_local_tier_at_its_first_hit(staffed, tmp_path):
    """Who had it computed may never ask again; whoever asks again finds it on this host from then on."""
    config, local = case(), tmp_path / "local"
    with staffed.open(local_cache=str(local)) as store:
        kept = []
        for _ in range(3):
            store.get_or_compute("MISS", RAW, config, sample_features.scaled, timeout=30)
            kept.append(len(list(local.glob("*/*.arrow"))))
    assert kept == [0, 1, 1]


def test_who_registered_a_job_is_not_woken_by_its_own_subscription(staffed):
    """Nothing can have been missed before a worker heard of the job; an announcement wakes all the same."""
    link = staffed.store.resources.redis_server._link
    notifier = Notifier(link, count=lambda *_: None)
    with notifier.subscribe(["k1", "k2"]) as watch:
        for key in ("k1", "k2"):
            eventually(lambda key=key: watch._heard.get(key) is False, seconds=5, what="the confirmation")
        watch.acknowledge(["k1"])
        assert watch.wait(30) == {"k2"}
        watch.acknowledge(["k1", "k2"])
        assert not watch._event.is_set()

        watch.notify("k1")
        watch.notify("k1", announced=False)
        watch.notify("k2", announced=False)
        watch.acknowledge(["k1", "k2"])
        assert watch.wait(30) == {"k1"}
        watch.notify("k1", announced=False)
        watch.notify("k2")
        watch.acknowledge(["k1"])
        assert watch._event.is_set()
        assert watch.wait(30) == {"k2"}

        notifier.announce(["k1"], {})
        eventually(lambda: watch._heard.get("k1") is True, seconds=5, what="the announcement")
        watch.acknowledge(["k1"])
        assert watch.wait(30) == {"k1"}
        reading = notifier._subscriber._pubsub.connection._sock
        address = ":".join(map(str, reading.getsockname()))  # its own: the store's and its worker's are left whole
        assert link.call("dropping", lambda client: client.client_kill(address))
        assert watch.wait(30)  # what was announced meanwhile was not heard
        eventually(
            lambda: link.call("asking", lambda client: client.pubsub_numsub(hint_channel("k1")))[0][1] == 1,
            seconds=10, what="a new subscription",
        )  # fmt: skip
    notifier.close()
