"""Worker and trainer with other source code under one version: refused, told, or accepted on purpose; never silent."""

from __future__ import annotations

import importlib.util
import itertools
import json
import logging
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pytest

import fstore
import fstore.client.ticket
from fstore import Request, VersionMismatch
from fstore.client.request import _warned, prepare
from fstore.compute.raw_data import stage_raw
from fstore.features import registry as features
from fstore.features.declarations import Feature
from fstore.features.registry import resolve_feature
from tests.conftest import REPOSITORY, House, Servers, build_house
from tests.support.commands import fstore as run_fstore
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})
OLD_TIME, NEW_TIME = 1_795_802_520, 1_795_944_720
NOWHERE = "redis://127.0.0.1:1/0"
MODULE = """
    import pandas as pd
    import fstore

    @fstore.feature(version="1")
    def scaled(raw, config):
        return raw * {factor}

    @fstore.feature(version="1", input="{input}")
    def counted(raw, config):
        return pd.DataFrame({{"n": [len(raw)]}})

    @fstore.feature()
    def tracked(raw, config):
        return raw + {factor}
"""
CLIENT = """
import json, sys
from workers.tasks import get_or_compute
try:
    print(json.dumps(get_or_compute.delay(json.loads(sys.argv[1])).get(timeout=40)))
except Exception as error:
    print(json.dumps({"error": type(error).__name__, "text": str(error)}))
"""
_case = itertools.count()


def load(folder: Path, *, factor: int, written: int, kind: str = "pandas") -> dict[str, Feature]:
    """Write the module with one source, import it, and return its features by name."""
    folder.mkdir()
    path = folder / "desk_features.py"
    path.write_text(textwrap.dedent(MODULE).format(factor=factor, input=kind), encoding="utf-8")
    os.utime(path, (written, written))
    spec = importlib.util.spec_from_file_location("desk_features", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["desk_features"] = module
    for name in [name for name in features._registry if name.startswith("desk_features:")]:
        del features._registry[name]
    spec.loader.exec_module(module)
    return {name: resolve_feature(getattr(module, name)) for name in ("scaled", "counted", "tracked")}


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Feature]:
    """What the workers run."""
    return load(tmp_path_factory.mktemp("old") / "old", factor=2, written=OLD_TIME)


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Feature]:
    """What a trainer runs whose author has edited the module since."""
    return load(tmp_path_factory.mktemp("new") / "new", factor=3, written=NEW_TIME, kind="arrow")


@pytest.fixture(scope="module")
def house(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory, old: dict[str, Feature], new: dict[str, Feature]
) -> Iterator[House]:
    """A store whose worker runs the old source; this process has loaded both."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        house = build_house(servers, tmp_path_factory.mktemp("house"), stack)
        patch.setenv("PYTHONPATH", str(Path(old["scaled"].func.__code__.co_filename).parent))
        house.start(FEATURE_STORE_FEATURE_MODULES="desk_features")
        yield house


@pytest.fixture(autouse=True)
def unwarned() -> None:
    """Let each test be the first that is warned."""
    _warned.clear()


def case() -> dict[str, int]:
    """Return a config that no other test has."""
    return {"case": next(_case)}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "fstore.asking"]


def forget_warnings(caplog: pytest.LogCaptureFixture) -> None:
    _warned.clear()
    caplog.clear()


def test_a_worker_of_older_source_refuses_and_says_which_side_is_older(house, new):
    """The error comes at once, with the times of both sources; nothing is published."""
    config = case()

    with pytest.raises(VersionMismatch) as caught:
        house.store.get_or_compute("GET", RAW, config, new["scaled"], timeout=30)

    assert "the worker is older" in str(caught.value)
    assert "2026-11-27 18:02:00 UTC" in str(caught.value)
    assert "2026-11-29 09:32:00 UTC" in str(caught.value)
    assert (caught.value.asked, caught.value.found) == ("1", "1")
    assert house.store.peek("GET", RAW, config, new["scaled"]) is None


def test_a_batch_refuses_what_differs_and_computes_the_rest(house, new, old):
    """Each request of other source fails by itself."""
    wanted = [Request("MANY", RAW, case(), new["scaled"]) for _ in range(3)]
    wanted += [Request("MANY", RAW, case(), old["scaled"]) for _ in range(3)]

    answers = house.store.get_or_compute_many(wanted, timeout=40, errors="return")
    found = {id(request): answer for request, answer in answers}

    assert [isinstance(found[id(request)], VersionMismatch) for request in wanted] == [True] * 3 + [False] * 3
    assert all(found[id(request)].equals(RAW * 2) for request in wanted[3:])


def test_of_one_key_in_one_batch_only_the_refused_source_is_refused(house, new, old):
    """A notebook may hold a function before and after its edit."""
    config = case()
    wanted = [Request("BOTH", RAW, config, feature) for feature in (new["scaled"], old["scaled"], new["scaled"])]

    answers = house.store.get_or_compute_many(wanted, timeout=40, errors="return")
    found = {id(request): answer for request, answer in answers}

    assert [isinstance(found[id(request)], VersionMismatch) for request in wanted] == [True, False, True]
    assert found[id(wanted[1])].equals(RAW * 2)


def test_a_ticket_tells_the_refusal(house, new):
    """``submit`` asks as ``get_or_compute`` does."""
    ticket = house.store.submit("SUBMIT", RAW, case(), new["scaled"])

    refused = eventually(ticket.exception, seconds=30, what="the refusal")

    assert isinstance(refused, VersionMismatch)
    with pytest.raises(VersionMismatch):
        ticket.result(timeout=20)


def test_a_plain_client_is_compared_only_if_it_says_what_it_runs(house, new, old):
    """Celery's own ``delay`` without a digest takes what the worker runs; with another digest it is refused."""
    path = house.root.parent / "client.parquet"
    RAW.to_parquet(path)
    request = {"symbol": "PLAIN", "feature": "desk_features:scaled", "config": case(), "raw_data": str(path)}

    silent = client(house, request)
    refused = client(house, request | {"config": case(), "source_digest": new["scaled"].source_digest})
    same = client(house, request | {"config": case(), "source_digest": old["scaled"].source_digest})

    assert house.store.load(silent).equals(RAW * 2)
    assert refused["error"] == "VersionMismatch"
    assert same["status"] == "computed"


def client(house: House, request: dict[str, object]) -> dict[str, object]:
    """Ask as a program does that knows Celery only."""
    run = subprocess.run(
        [sys.executable, "-c", CLIENT, json.dumps(request)],
        env={
            **os.environ, **house.environment, "PYTHONPATH": str(REPOSITORY),
            "FEATURE_STORE_FEATURE_MODULES": "fstore.intraday",
        },
        cwd=house.root.parent, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads(run.stdout.splitlines()[-1])


def test_a_refusal_is_not_told_to_whom_it_does_not_concern(house, new, old, caplog):
    """A trainer of the worker's source gets its result at once; then the other one hits it, and is warned."""
    config = case()
    for _ in range(2):  # the second time from the note, which is his
        with pytest.raises(VersionMismatch):
            house.store.get_or_compute("NOTE", RAW, config, new["scaled"], timeout=30)

    forget_warnings(caplog)
    assert house.store.get_or_compute("NOTE", RAW, config, old["scaled"], timeout=10).equals(RAW * 2)
    assert warnings(caplog) == []
    with caplog.at_level(logging.WARNING, "fstore.asking"):
        assert house.store.get_or_compute("NOTE", RAW, config, new["scaled"], timeout=10).equals(RAW * 2)

    (warning,) = warnings(caplog)
    assert "desk_features:scaled" in warning
    assert "raise version=" in warning


def test_a_submit_and_a_plain_client_are_not_told_of_it_either(house, new, old):
    """Whoever may have the key computed frees it from another's refusal."""
    path = house.root.parent / "after-refusal.parquet"
    RAW.to_parquet(path)
    source = fstore.ParquetSource(path)
    first, second = case(), case()
    for config in (first, second):
        with pytest.raises(VersionMismatch):
            house.store.get_or_compute("FREE", source, config, new["scaled"], timeout=30)

    resources = house.store.resources
    before = fstore.client.ticket.Ticket(resources, prepare(resources, "FREE", source, first, old["scaled"]))
    assert (before.status(), before.done(), before.exception()) == ("unknown", False, None)
    ticket = house.store.submit("FREE", source, first, old["scaled"])
    eventually(lambda: ticket.status() == "live", seconds=20, what="the ticket's result")
    answer = client(
        house, {"symbol": "FREE", "feature": "desk_features:scaled", "config": second, "raw_data": str(path)}
    )

    assert ticket.exception() is None
    assert answer["status"] == "computed"


def test_who_waits_for_a_computation_that_is_refused_asks_for_himself(house, new, old):
    """The one who led had other source; his refusal is not the answer of those who waited along."""
    config, found = case(), []
    asked = prepare(house.store.resources, "WAIT", RAW, config, new["scaled"])
    request = asked.message(stage_raw(house.store.resources.staging, RAW, asked.fingerprint))
    house.store.resources.jobs.enqueue({asked.key: request.wire()})
    waiting = threading.Thread(
        target=lambda: found.append(house.store.get_or_compute("WAIT", RAW, config, old["scaled"], timeout=30))
    )
    waiting.start()

    house.store.resources.broker.send_compute(request)
    waiting.join(30)

    assert found[0].equals(RAW * 2)


def test_a_caller_that_accepts_other_source_goes_on_and_is_warned(house, new, caplog):
    """``on_source_change="warn"`` of the trainer takes the worker's numbers, and says so."""
    config = case()
    with pytest.raises(VersionMismatch):
        house.store.get_or_compute("WARN", RAW, config, new["scaled"], timeout=30)

    with house.open(on_source_change="warn") as willing, caplog.at_level(logging.WARNING, "fstore.asking"):
        found = willing.get_or_compute("WARN", RAW, config, new["scaled"], timeout=30)

    assert found.equals(RAW * 2)
    assert len(warnings(caplog)) == 1


def test_a_worker_that_accepts_other_source_goes_on(servers, old, new, tmp_path, caplog, monkeypatch):
    """``FEATURE_STORE_ON_SOURCE_CHANGE=warn`` of a worker; its log and the trainer's both tell."""
    with ExitStack() as stack:
        house = build_house(servers, tmp_path, stack)
        monkeypatch.setenv("PYTHONPATH", str(Path(old["scaled"].func.__code__.co_filename).parent))
        house.start(FEATURE_STORE_FEATURE_MODULES="desk_features", FEATURE_STORE_ON_SOURCE_CHANGE="warn", concurrency=1)

        with caplog.at_level(logging.WARNING, "fstore.asking"):
            found = [house.store.get_or_compute("W", RAW, case(), new["scaled"], timeout=30) for _ in range(2)]

        assert all(frame.equals(RAW * 2) for frame in found)
        assert len(warnings(caplog)) == 1
        (log,) = tmp_path.glob("worker-*.log")
        assert log.read_text().count("on_source_change=warn") == 1


def test_another_kind_of_input_is_other_code(house, new):
    """The key does not commit to ``input=``, so it is compared as well."""
    with pytest.raises(VersionMismatch, match=r"input='pandas', the caller's input='arrow'"):
        house.store.get_or_compute("INPUT", RAW, case(), new["counted"], timeout=30)


def test_a_tracked_feature_says_which_side_is_older_too(house, new):
    """The versions differ then; the times are told all the same."""
    with pytest.raises(VersionMismatch, match="the worker is older") as caught:
        house.store.get_or_compute("TRACKED", RAW, case(), new["tracked"], timeout=30)

    assert caught.value.asked == new["tracked"].version


def ways_to_hit(house: House, config: dict[str, int], feature: Feature) -> dict[str, object]:
    """Return every way to meet an entry that is there."""
    request = Request("HIT", RAW, config, feature)
    ticket = house.store.submit("HIT", RAW, config, feature)
    return {
        "get": lambda: house.store.get_or_compute("HIT", RAW, config, feature, timeout=20),
        "many": lambda: list(house.store.get_or_compute_many([request, request], timeout=20)),
        "peek": lambda: house.store.peek("HIT", RAW, config, feature),
        "peek_many": lambda: list(house.store.peek_many([request])),
        "ticket": lambda: ticket.result(timeout=20),
        "load": lambda: house.store.load({"key": ticket.key, "path": "-"}),
    }


@pytest.mark.parametrize("way", ["get", "many", "peek", "peek_many", "ticket", "load"])
def test_a_hit_of_other_source_is_warned_of_once(house, old, new, caplog, way):
    """The first hit says which entry and what to do; the next ones say nothing."""
    config = {"hit": way}
    house.store.get_or_compute("HIT", RAW, config, old["scaled"], timeout=30)
    hit = ways_to_hit(house, config, new["scaled"])[way]

    with caplog.at_level(logging.WARNING, "fstore.asking"):
        hit()
        hit()

    (warning,) = warnings(caplog)
    assert house.store.peek("HIT", RAW, config, old["scaled"]).key[:12] in warning
    assert "fstore invalidate --feature desk_features:scaled" in warning


def test_a_hit_of_the_same_source_is_no_news_and_costs_no_query(house, old, caplog, monkeypatch):
    """One look at the manifest, as ever."""
    config = case()
    house.store.get_or_compute("SAME", RAW, config, old["scaled"], timeout=30)
    asked = []
    query = house.store.resources.database.query
    monkeypatch.setattr(
        house.store.resources.database,
        "query",
        lambda sql, *rest, **more: asked.append(sql) or query(sql, *rest, **more),
    )

    house.store.get_or_compute("SAME", RAW, config, old["scaled"], timeout=30)

    assert len(asked) == 1
    assert warnings(caplog) == []


def test_an_edited_local_function_is_told_of(house, caplog):
    """Two desks, or one before and after an edit, share the key of a local function; the second is warned."""

    def doubled(raw, config):
        return raw * 2

    def tripled(raw, config):
        return raw * 3

    config = case()
    first = fstore.local(doubled, version="1", name="desk")
    second = fstore.local(tripled, version="1", name="desk")
    house.store.get_or_compute("LOCAL", RAW, config, first, timeout=30)

    with caplog.at_level(logging.WARNING, "fstore.asking"):
        house.store.get_or_compute("LOCAL", RAW, config, second, timeout=30)

    (warning,) = warnings(caplog)
    assert "local:desk" in warning


def test_of_two_local_functions_in_one_batch_the_second_is_told_of_the_first(house, caplog):
    """They share one computation, which is the first one's."""

    def doubled(raw, config):
        return raw * 2

    def tripled(raw, config):
        return raw * 3

    config = case()
    requests = [Request("TWO", RAW, config, fstore.local(func, version="1", name="two")) for func in (doubled, tripled)]

    with caplog.at_level(logging.WARNING, "fstore.asking"):
        list(house.store.get_or_compute_many(requests, timeout=30))

    assert len(warnings(caplog)) == 1


def test_computed_here_without_redis_it_is_the_callers_source(house, new, old, caplog):
    """Nobody else's code is in it; a caller of the workers' source is warned when it hits the entry."""
    config = case()
    with house.open(redis_url=NOWHERE, trust_staged_results=True) as alone:
        assert alone.get_or_compute("ALONE", RAW, config, new["scaled"], timeout=30).equals(RAW * 3)

    entry = house.store.peek("ALONE", RAW, config, new["scaled"])
    assert entry.source_digest == new["scaled"].source_digest
    with caplog.at_level(logging.WARNING, "fstore.asking"):
        house.store.get_or_compute("ALONE", RAW, config, old["scaled"], timeout=30)
    assert len(warnings(caplog)) == 1


def test_entries_of_another_digest_format_are_not_called_changed(house, old, new, caplog):
    """A new version of fstore may digest the same source to other digits."""
    config = case()
    house.store.get_or_compute("FORMAT", RAW, config, old["scaled"], timeout=30)
    key = house.store.peek("FORMAT", RAW, config, old["scaled"]).key
    house.store.resources.database.query(
        'UPDATE manifest SET library_versions = library_versions || \'{"source_format": "fstore-source-0"}\' WHERE key = %(key)s',
        {"key": key},
    )
    forget_warnings(caplog)

    with caplog.at_level(logging.WARNING, "fstore.asking"):
        house.store.get_or_compute("FORMAT", RAW, config, new["scaled"], timeout=30)

    assert warnings(caplog) == []
    assert house.store.explain("FORMAT", RAW, config, new["scaled"]).same_source is None


def test_explain_names_what_an_entry_was_computed_by_that_is_another_here(house, old, new):
    """Source, python and every library that is recorded, in the text and in the JSON."""
    config = case()
    house.store.get_or_compute("EXPLAIN", RAW, config, old["scaled"], timeout=30)
    entry = house.store.peek("EXPLAIN", RAW, config, old["scaled"])
    assert {"python", "fstore", "pandas", "numpy", "pyarrow"} <= set(entry.library_versions)
    same = house.store.explain("EXPLAIN", RAW, config, old["scaled"])
    assert (same.same_source, same.as_dict()["differs_from_here"]) == (True, {})
    house.store.resources.database.query(
        "UPDATE manifest SET library_versions = library_versions || "
        '\'{"pandas": "2.0.1", "python": "3.9.1", "nosuchlibrary": "1.0"}\' WHERE key = %(key)s',
        {"key": entry.key},
    )

    found = house.store.explain("EXPLAIN", RAW, config, new["scaled"])

    differs = found.as_dict()["differs_from_here"]
    assert set(differs) == {"source", "pandas", "python", "nosuchlibrary"}
    assert differs["source"] == {"entry": old["scaled"].source_digest, "here": new["scaled"].source_digest}
    assert differs["pandas"] == {"entry": "2.0.1", "here": pd.__version__}
    assert "computed by pandas 2.0.1, here is " + pd.__version__ in str(found)
    assert "computed by other source" in str(found)
    assert "computed by nosuchlibrary 1.0, here is none" in str(found)
    shown = run_fstore(house, "show", entry.key, "--json").json
    assert {"pandas", "python", "nosuchlibrary"} <= set(shown["differs_from_here"])


def test_a_local_result_records_the_libraries_of_whoever_computed_it(house, monkeypatch):
    """A worker only writes it down: its own versions would be the wrong ones."""
    from fstore.compute import provenance

    local = fstore.local(lambda raw, config: raw, version="1", name="libraries")
    here = {**provenance.library_versions(), "python": "3.99"}
    monkeypatch.setattr(provenance, "library_versions", lambda: here)

    house.store.get_or_compute("LIBRARIES", RAW, {}, local, timeout=30)

    assert house.store.peek("LIBRARIES", RAW, {}, local).library_versions["python"] == "3.99"
