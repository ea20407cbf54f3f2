"""What a miss does, and what it spares itself."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pandas as pd
import pytest

from fstore import ComputeFailed, fingerprint
from fstore.coordination import Coordination, hint_channel
from fstore.hints import Hints
from fstore.jobs import Jobs
from fstore.manifest import Manifest
from fstore.registering import QUICK_TO_STAGE_CELLS
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
    assert staffed.store.resources.files.find_staged_raw(fingerprint.content_digest(LARGE)) is None
    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert answers[0].equals(answers[1])


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
    link = staffed.store.resources.coordination._link
    hints, coordination = Hints(link), Coordination(link, lock_s=30)
    with hints.watch(["k1", "k2"]) as watch:
        for key in ("k1", "k2"):
            eventually(lambda key=key: watch._heard.get(key) is False, seconds=5, what="the confirmation")
        watch.knows_all_about(["k1"])
        assert watch.wait(5) == {"k2"}
        watch.knows_all_about(["k1", "k2"])
        assert not watch._event.is_set()

        coordination.announce(["k1"], {})
        eventually(lambda: watch._heard.get("k1") is True, seconds=5, what="the announcement")
        watch.knows_all_about(["k1"])
        assert watch.wait(5) == {"k1"}
        link.call("dropping", lambda client: client.client_kill_filter(_type="pubsub"))
        assert watch.wait(5)  # what was announced meanwhile was not heard
        eventually(
            lambda: link.call("asking", lambda client: client.pubsub_numsub(hint_channel("k1")))[0][1] == 1,
            seconds=10, what="a new subscription",
        )  # fmt: skip
    hints.close()
