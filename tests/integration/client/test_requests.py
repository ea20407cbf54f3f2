"""The verbs around a request: many at once, tickets, peek, explain, invalidate, versions and local functions."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pandas as pd
import pytest

import fstore
from fstore import ComputeFailed, ComputeTimeout, EntryCorrupt, InvalidRequest, Request, UnhashableInput
from fstore.client import request
from tests import sample_features
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [float(i) for i in range(30)]})
_case = itertools.count()


def case(**config):
    """Return a config that no other test has."""
    return {"case": next(_case), **config}


def many(staffed, requests, **options):
    return list(staffed.store.get_or_compute_many(requests, timeout=40, **options))


def scaled(config, symbol="MANY", raw=RAW):
    return Request(symbol, raw, config, sample_features.scaled)


def test_many_answers_every_request_hits_first(staffed):
    """What is there comes before what has to be computed, whatever the order of the questions."""
    hits, misses = [scaled(case(factor=n)) for n in range(3)], [scaled(case(factor=n)) for n in range(3, 6)]
    many(staffed, hits)

    answers = many(staffed, [*misses, *hits])

    assert {id(request) for request, _ in answers[:3]} == {id(request) for request in hits}
    assert all(frame.equals(RAW * request.config["factor"]) for request, frame in answers)
    assert len(answers) == 6


def test_equal_requests_are_computed_once_and_answered_each(staffed, tmp_path):
    """Two equal questions get two frames of their own."""
    config = case(seconds=0.1, marks=str(tmp_path / "marks"))
    requests = [Request("MANY", RAW, dict(config), sample_features.slow) for _ in range(4)]

    answers = many(staffed, requests)

    assert [request for request, _ in answers] == requests
    assert len(list((tmp_path / "marks").iterdir())) == 1
    frames = [frame for _, frame in answers]
    frames[0].iloc[0, 0] = -1.0
    assert all(frame.equals(RAW.head(3)) for frame in frames[1:])


def test_shared_raw_data_are_fingerprinted_once(staffed, monkeypatch):
    """Hashing the same frame for every config would cost more than the features."""
    taken = []
    identify = request.identify
    monkeypatch.setattr(request, "identify", lambda raw, **options: taken.append(raw) or identify(raw, **options))

    many(staffed, [scaled(case(factor=n)) for n in range(5)])

    assert len(taken) == 1


def test_requests_may_come_from_a_generator_that_keeps_nothing(staffed):
    """Frames that exist only inside their request are told apart."""
    answers = many(staffed, (scaled(case(), raw=pd.DataFrame({"x": np.full(10, float(n))})) for n in range(8)))
    assert sorted(frame["x"].iloc[0] for _, frame in answers) == [2.0 * n for n in range(8)]


def test_errors_can_be_answers(staffed):
    """One request that fails, in whatever way, takes nothing from the others."""
    requests = [
        scaled(case(factor=2)),
        Request("MANY", RAW, case(), sample_features.failing),
        scaled({"x": float("nan")}),
        scaled(case(), symbol="x" * 1000),
        Request("MANY", "no data", {}, sample_features.scaled),
        Request("MANY", RAW, {}, "nowhere:nothing"),
    ]

    answers = {id(request): answer for request, answer in many(staffed, requests, errors="return")}

    kinds = [type(answers[id(request)]) for request in requests]
    assert kinds == [
        pd.DataFrame,
        ComputeFailed,
        UnhashableInput,
        InvalidRequest,
        UnhashableInput,
        fstore.FeatureNotRegistered,
    ]


def test_the_first_error_is_raised_by_default(staffed):
    """Unless errors are asked for as answers."""
    with pytest.raises(ComputeFailed):
        many(staffed, [Request("MANY", RAW, case(), sample_features.failing)])
    with pytest.raises(UnhashableInput):
        many(staffed, [scaled({"x": float("nan")})])


def test_no_requests_are_no_work(staffed):
    """Nothing in, nothing out."""
    assert many(staffed, []) == []


def test_many_shows_progress_and_gives_tables(staffed, capsys):
    """The bar is the caller's choice, and so is the form."""
    ((_, table),) = many(staffed, [scaled(case(factor=2))], progress=True, returns="arrow")
    assert table.num_rows == 30
    assert "features" in capsys.readouterr().out


def test_a_ticket_is_asked_for_later(staffed, tmp_path):
    """Submitted without waiting, looked at while it runs, waited for in the end."""
    config = case(seconds=1.0, marks=str(tmp_path))
    ticket = staffed.store.submit("TICKET", RAW, config, sample_features.slow)

    assert ticket.status() in {"queued", "running"}
    assert not ticket.done()
    assert ticket.exception() is None
    with pytest.raises(ComputeTimeout):
        ticket.result(timeout=0.05)
    assert ticket.result(timeout=30).equals(RAW.head(3))
    assert (ticket.status(), ticket.done(), ticket.exception()) == ("live", True, None)
    assert ticket.key == staffed.store.peek("TICKET", RAW, config, sample_features.slow).key
    assert len(list(tmp_path.iterdir())) == 1


def test_a_ticket_holds_the_error(staffed):
    """As ``result`` would raise it."""
    ticket = staffed.store.submit("TICKET", RAW, case(), sample_features.failing)

    error = eventually(ticket.exception, seconds=30, what="the computation to fail")

    assert isinstance(error, ComputeFailed)
    assert (ticket.done(), ticket.status()) == (True, "failed")
    with pytest.raises(ComputeFailed):
        ticket.result(timeout=5)


def test_submitting_what_is_there_sends_nothing(staffed):
    """Neither a job nor a message for a hit."""
    config = case(factor=2)
    staffed.store.get_or_compute("TICKET", RAW, config, sample_features.scaled, timeout=30)

    ticket = staffed.store.submit("TICKET", RAW, config, sample_features.scaled)

    assert ticket.done()
    assert staffed.store.resources.jobs.find(ticket.key) is None


def test_peek_computes_nothing(staffed):
    """None before, the entry afterwards; no job in between."""
    config = case(factor=2)
    assert staffed.store.peek("PEEK", RAW, config, sample_features.scaled) is None
    key = staffed.store.explain("PEEK", RAW, config, sample_features.scaled).key
    assert staffed.store.resources.jobs.find(key) is None

    staffed.store.get_or_compute("PEEK", RAW, config, sample_features.scaled, timeout=30)

    entry = staffed.store.peek("PEEK", RAW, config, sample_features.scaled)
    assert (entry.key, entry.rows, entry.parts.symbol, entry.attempt) == (key, 30, "PEEK", 1)
    assert (staffed.root / entry.path).stat().st_size == entry.file_size_bytes


def test_explain_names_the_part_that_differs(staffed):
    """The nearest earlier entry, and why its key is another one."""
    config = case(factor=2)
    staffed.store.get_or_compute("WHY", RAW, config, sample_features.scaled, timeout=30)

    def differs(symbol="WHY", raw=RAW, changed=config):
        found = staffed.store.explain(symbol, raw, changed, sample_features.scaled)
        assert not found.hit
        return found.nearest.differs_in

    hit = staffed.store.explain("WHY", RAW, config, sample_features.scaled)
    assert (hit.hit, hit.state, hit.nearest) == (True, "live", None)
    assert hit.expected_s is not None
    assert differs(changed={**config, "factor": 3}) == ("config",)
    assert differs(raw=RAW + 0.01) == ("fingerprint",)
    assert differs(symbol="WHY2") == ("symbol",)
    assert "hit" in str(hit)
    assert hit.as_dict()["parts"]["symbol"] == "WHY"


def test_explain_tells_who_is_at_work_and_what_failed(staffed, tmp_path):
    """While it runs: the owner and the attempt; after a failure: the error."""
    config = case(seconds=1.5, marks=str(tmp_path))
    ticket = staffed.store.submit("WHO", RAW, config, sample_features.slow)
    eventually(lambda: list(tmp_path.iterdir()), seconds=30, what="the computation to start")

    running = staffed.store.explain("WHO", RAW, config, sample_features.slow)

    (mark,) = tmp_path.iterdir()
    assert (running.state, running.attempt) == ("running", 1)
    assert running.owner.split(":")[1] == mark.name.split("-")[0]
    assert running.elapsed_s >= 0
    ticket.result(timeout=30)
    with pytest.raises(ComputeFailed):
        staffed.store.get_or_compute("WHO", RAW, config, sample_features.failing, timeout=30)
    failed = staffed.store.explain("WHO", RAW, config, sample_features.failing)
    assert failed.failure == "ValueError: no price in row 17"
    assert "no price in row 17" in str(failed)


def test_invalidate_condemns_what_fits_all_conditions(staffed):
    """By key, by symbol, by feature; nothing without a condition."""
    one, two = case(factor=1), case(factor=2)
    for symbol, config in (("GONE-A", one), ("GONE-A", two), ("GONE-B", one)):
        staffed.store.get_or_compute(symbol, RAW, config, sample_features.scaled, timeout=30)
    key = staffed.store.peek("GONE-A", RAW, one, sample_features.scaled).key

    with pytest.raises(InvalidRequest):
        staffed.store.invalidate()
    assert staffed.store.invalidate(key=key, symbol="GONE-B") == 0
    assert staffed.store.invalidate(key=key) == 1
    assert staffed.store.invalidate(key=key) == 0
    assert staffed.store.invalidate(symbol="GONE-A", feature=sample_features.scaled) == 1
    assert staffed.store.invalidate(symbol="GONE-B", feature="tests.sample_features:slow") == 0
    assert staffed.store.peek("GONE-B", RAW, one, sample_features.scaled) is not None
    assert staffed.store.peek("GONE-A", RAW, two, sample_features.scaled) is None


def test_a_frame_that_was_given_up_cannot_be_loaded(staffed):
    """An old answer of a plain client says so instead of reading a file without a row."""
    config = case(factor=2)
    staffed.store.get_or_compute("LOAD", RAW, config, sample_features.scaled, timeout=30)
    entry = staffed.store.peek("LOAD", RAW, config, sample_features.scaled)
    answer = {"key": entry.key, "path": entry.path}
    assert staffed.store.load(answer).equals(RAW * 2)
    staffed.store.invalidate(key=entry.key)

    with pytest.raises(EntryCorrupt, match="ask for it again"):
        staffed.store.load(answer)


def test_changed_source_under_the_same_version_is_warned_of_once(staffed, caplog):
    """Results of old and new code would share their keys; that is the author's call, and the log says so."""
    config = case(factor=2)
    staffed.store.get_or_compute("SOURCE", RAW, config, sample_features.scaled, timeout=30)
    staffed.store.resources.database.query(
        "UPDATE manifest SET source_digest = 'another' WHERE key = %(key)s",
        {"key": staffed.store.peek("SOURCE", RAW, config, sample_features.scaled).key},
    )
    from fstore.client.request import _warned

    _warned.clear()
    with caplog.at_level(logging.WARNING, "fstore.asking"):
        for _ in range(2):
            staffed.store.get_or_compute("SOURCE", RAW, case(), sample_features.scaled, timeout=30)

    (warning,) = [record for record in caplog.records if record.name == "fstore.asking"]
    assert "tests.sample_features:scaled" in warning.getMessage()


def test_a_local_function_is_computed_here_once_and_shared(staffed):
    """Any callable, wrapped, under the same rules: computed in this process, written by a worker, a hit afterwards."""
    calls = []

    def halved(raw, config):
        calls.append(1)
        return raw / 2

    halved_here = fstore.local(halved, version="1", name=f"halved-{next(_case)}")

    first = staffed.store.get_or_compute("LOCAL", RAW, {}, halved_here, timeout=30)
    with staffed.open() as other:
        second = other.get_or_compute("LOCAL", RAW, {}, halved_here, timeout=30)

    assert first.equals(RAW / 2)
    assert second.equals(RAW / 2)
    assert len(calls) == 1
    entry = staffed.store.peek("LOCAL", RAW, {}, halved_here)
    assert entry.parts.feature.startswith("local:")
    assert not list((staffed.root / "staging" / "results").glob(f"{entry.key}*"))
    assert staffed.store.resources.jobs.find(entry.key) is None


def test_a_local_function_that_raises_leaves_a_note_too(staffed):
    """The error has the traceback, and is remembered."""
    calls = []

    def broken(raw, config):
        calls.append(1)
        raise ValueError("not today")

    broken_here = fstore.local(broken, version="1", name=f"broken-{next(_case)}")
    for _ in range(2):
        with pytest.raises(ComputeFailed, match="not today") as caught:
            staffed.store.get_or_compute("LOCAL", RAW, {}, broken_here, timeout=30)
    assert "in broken" in caught.value.traceback_text
    assert len(calls) == 1


def test_a_local_function_can_be_submitted(staffed):
    """It runs in a thread of this process."""
    doubled = fstore.local(lambda raw, config: raw * 2, version="1", name=f"doubled-{next(_case)}")
    ticket = staffed.store.submit("LOCAL", RAW, {}, doubled)
    assert ticket.result(timeout=30).equals(RAW * 2)


def test_a_dataset_feature_streams_a_source(staffed):
    """Batches of a Parquet source that is never loaded as a whole."""
    path = staffed.root.parent / "stream.parquet"
    pd.DataFrame({"x": range(100_000)}).to_parquet(path, row_group_size=1000)

    frame = staffed.store.get_or_compute("DATA", fstore.ParquetSource(path), {}, sample_features.row_count, timeout=30)

    assert frame["rows"].item() == 100_000


def test_anything_with_an_arrow_stream_is_raw_data(staffed):
    """A frame, a table and any other library's stream of the same content are one key."""
    polars = pytest.importorskip("polars")
    config = case(factor=2)

    found = staffed.store.get_or_compute("ARROW", polars.from_pandas(RAW), config, sample_features.scaled, timeout=30)

    assert found["price"].tolist() == (RAW * 2)["price"].tolist()


def test_a_deadline_is_kept_while_the_computation_goes_on(staffed, tmp_path):
    """``ComputeTimeout`` says so, and asking again gets the result of the same computation."""
    config = case(seconds=2.0, marks=str(tmp_path))

    with pytest.raises(ComputeTimeout) as caught:
        staffed.store.get_or_compute("LATE", RAW, config, sample_features.slow, timeout=0.5)

    assert caught.value.seconds < 1.5
    assert staffed.store.get_or_compute("LATE", RAW, config, sample_features.slow, timeout=30).equals(RAW.head(3))
    assert len(list(tmp_path.iterdir())) == 1


def test_one_tick_makes_another_key(staffed):
    """Corrected data never get the old result, wherever the correction is."""
    raw = pd.DataFrame({"price": np.linspace(100, 101, 5000)})
    config = case(factor=2)
    staffed.store.get_or_compute("TICK", raw, config, sample_features.scaled, timeout=30)
    for row in (0, 1234, 2500, 4999):
        corrected = raw.copy()
        corrected.loc[row, "price"] *= 1.0001
        assert staffed.store.peek("TICK", corrected, config, sample_features.scaled) is None
    assert staffed.store.peek("TICK", raw.copy(), config, sample_features.scaled) is not None


def test_the_statistics_add_up(staffed):
    """Hits, misses and computations are counted once each."""
    config = case(factor=2)
    before = staffed.store.get_cache_stats()

    for _ in range(3):
        staffed.store.get_or_compute("COUNT", RAW, config, sample_features.scaled, timeout=30)

    after = staffed.store.get_cache_stats()
    changed = {name: after[name] - before[name] for name in ("cache_hits", "cache_misses", "computed", "failed")}
    assert changed == {"cache_hits": 2, "cache_misses": 1, "computed": 1, "failed": 0}
