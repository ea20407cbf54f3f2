"""What a notebook, a debugger or a log shows of the objects that users meet: a line that names it, and no secret."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fstore
from fstore.features import resolve_feature
from fstore.ingest.report import FileReport, IngestReport
from tests import sample_features

LONG = pd.DataFrame({"price": np.arange(5_000.0), "size": 1.0})
TRACEBACK = "Traceback (most recent call last):\n" + '  File "alphas.py", line 1, in f\n' * 40


early: list[str] = []


def looked_at(func):
    """Make a local feature, as a debugger sees it while the module is imported."""
    made = fstore.local(func)
    early.append(repr(made))
    return made


@looked_at
def spread(raw, config):
    """Compute something with what stands below it."""
    return below(raw)


def below(raw):
    """Stand below what calls it."""
    return raw


SHOWN = [
    (fstore.Request("AAPL", LONG, {"n": 3}, "m:f"), "Request('AAPL', <DataFrame (5000, 2)>, {'n': 3}, 'm:f')"),
    (fstore.Request("AAPL", fstore.ParquetSource("/x"), {}, "m:f"), "/x"),
    (resolve_feature(sample_features.scaled), "Feature('tests.sample_features:scaled', version='1')"),
    (fstore.partitions(3), "3"),
    (fstore.sessions("day", start="09:30", tz="America/New_York"), "America/New_York"),
    (fstore.ComputeFailed("a" * 64, "KeyError", "'ask'", TRACEBACK), "ComputeFailed(\"computing aaaaaaaaaaaa failed: KeyError: 'ask'\")"),
    (fstore.ConfigurationError(["one", "two"]), "ConfigurationError(['one', 'two'])"),
    (fstore.ComputeTimeout("a" * 64, 3, "queued"), "(job queued)"),
]  # fmt: skip


@pytest.mark.parametrize(("thing", "part"), SHOWN, ids=[type(thing).__name__ for thing, _ in SHOWN])
def test_a_line_names_it(thing: object, part: str) -> None:
    """Neither sixty rows of a frame nor a worker's traceback; a copy and one that travelled show the same."""
    shown = repr(thing)

    assert part in shown
    assert len(shown.splitlines()) == 1
    assert len(shown) < 200
    assert repr(copy.copy(thing)) == shown
    assert repr(pickle.loads(pickle.dumps(thing))) == shown


def test_a_look_at_a_local_feature_works_nothing_out() -> None:
    """While its module is imported it is not known yet what the function will look up."""
    assert early == [f"LocalFeature('{__name__}:spread')"]
    assert spread.version.startswith("src:")
    assert repr(spread) == f"LocalFeature('local:{__name__}:spread', version={spread.version!r})"


def test_an_ingest_report_can_be_printed() -> None:
    """``report=print`` says what the command says."""
    report = IngestReport((FileReport("a", 3, "2024-01-02", "2024-01-03", gaps=0, same_time=1, repeated=0),), ())

    assert str(report).splitlines() == report.lines()
    assert "3 rows from 2024-01-02 to 2024-01-03" in str(report)


class TracedStore(fstore.FeatureStore):
    """A user's own class, with arguments of its own."""

    def __init__(self, folder: Path, trace: list[str]) -> None:
        super().__init__(folder, postgres_url="postgresql://u:p@127.0.0.1:9/x", redis_url="redis://:p@127.0.0.1:9/0")
        self.trace = trace


def test_a_store_of_the_users_own_class_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it arrives in another process, where its methods are called."""
    monkeypatch.setenv("FEATURE_STORE_POSTGRES_URL", "postgresql://u:p@127.0.0.1:9/x")
    monkeypatch.setenv("FEATURE_STORE_REDIS_URL", "redis://:p@127.0.0.1:9/0")
    with TracedStore(tmp_path, []) as store, pickle.loads(pickle.dumps(store)) as arrived:
        assert type(arrived) is TracedStore
        assert repr(arrived) == f"TracedStore(root={str(tmp_path)!r})"
        assert pickle.loads(pickle.dumps(arrived)) is arrived
    with fstore.DiskGarbageCollector(tmp_path, dry_run=True) as collector:
        assert repr(collector) == f"DiskGarbageCollector(cache_root={str(tmp_path)!r})"
