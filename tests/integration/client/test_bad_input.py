"""Whatever is asked, the answer is a right result or a typed error with data in it, and soon."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import fstore
import fstore.compute.raw_data
from fstore import (
    ComputeFailed,
    FeatureNotRegistered,
    FeatureStoreError,
    InvalidRequest,
    ParquetSource,
    SourceChanged,
    SourceNotAllowed,
    StorageUnavailable,
    UnhashableInput,
)
from fstore.client.misses import answer_misses
from fstore.features.declarations import Feature
from fstore.features.keys import key_of
from tests import sample_features
from tests.conftest import House
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})


def ask(house: House, **changes: object) -> object:
    wanted = {"symbol": "BAD", "raw_data": RAW, "config": {}, "compute_func": sample_features.scaled, **changes}
    return house.store.get_or_compute(**wanted, timeout=30)


def never_registered(raw, config):
    return raw


@pytest.mark.parametrize(
    "function", [never_registered, lambda raw, config: raw, "os:system", "nowhere:nothing", 17, None]
)
def test_an_unknown_function_is_named_with_the_line_that_fixes_it(staffed, function):
    """Only registered functions run; the error shows how to register one."""
    with pytest.raises(FeatureNotRegistered, match=r"@fstore\.feature|fstore\.local\(") as caught:
        ask(staffed, compute_func=function)
    assert_pickles(caught.value)


@pytest.mark.parametrize("timeout", ["10", True, float("nan"), 1j, pd.Timedelta("1s"), [1]])
def test_what_is_no_time_to_wait_is_refused(staffed, timeout):
    """By all that take one."""
    request = fstore.Request("ARGUMENTS", RAW, {}, sample_features.scaled)
    ticket = staffed.store.submit("ARGUMENTS", RAW, {}, sample_features.scaled)
    for act in (
        lambda: staffed.store.get_or_compute("ARGUMENTS", RAW, {}, sample_features.scaled, timeout=timeout),
        lambda: staffed.store.get_or_compute_many([request], timeout=timeout),
        lambda: ticket.result(timeout=timeout),
    ):
        with pytest.raises(InvalidRequest, match=r"timeout: .* is no number of seconds"):
            act()


@pytest.mark.parametrize("timeout", [30, 30.0, np.int64(30), np.float32(30), float("inf")])
def test_any_number_of_seconds_is_a_time_to_wait(staffed, timeout):
    """Also one of numpy, and no end at all."""
    result = staffed.store.get_or_compute("ARGUMENTS", RAW, {}, sample_features.scaled, timeout=timeout)
    assert len(result) == len(RAW)


@pytest.mark.parametrize("requests", [None, 17, "requests", fstore.Request("ARGUMENTS", RAW, {}, "a:b"), {"a": 1}])
def test_what_is_no_list_of_requests_is_refused(staffed, requests):
    """With the line that makes one."""
    for act in (staffed.store.get_or_compute_many, staffed.store.peek_many):
        with pytest.raises(InvalidRequest, match=r"requests: .*\[fstore\.Request\("):
            act(requests)


@pytest.mark.parametrize("request_", [None, 17, ("ARGUMENTS", RAW, {}, "a:b"), {"symbol": "ARGUMENTS"}])
def test_what_is_no_request_is_refused_in_its_place(staffed, request_):
    """The others are answered where errors are returned."""
    good = fstore.Request("ARGUMENTS", RAW, {}, sample_features.scaled)
    for act in (staffed.store.get_or_compute_many, staffed.store.peek_many):
        with pytest.raises(InvalidRequest, match=r"requests: .*fstore\.Request\("):
            act([good, request_])

    (_, refused), (_, frame) = staffed.store.get_or_compute_many([request_, good], errors="return")

    assert isinstance(refused, InvalidRequest)
    assert len(frame) == len(RAW)


@pytest.mark.parametrize("errors", ["ignore", None, True, ["raise"]])
def test_unknown_ways_to_fail_are_refused(staffed, errors):
    """Not taken for the one that hides them."""
    with pytest.raises(InvalidRequest, match=r"errors: .*'raise' or 'return'"):
        staffed.store.get_or_compute_many([], errors=errors)


@pytest.mark.parametrize("returns", ["numpy", None, ["pandas"], {}])
def test_unknown_forms_are_refused(staffed, returns):
    """Whatever was given for one."""
    with pytest.raises(InvalidRequest, match="returns"):
        ask(staffed, symbol="ARGUMENTS", returns=returns)


def test_misspelt_arguments_are_named_as_the_caller_wrote_them(staffed):
    """With the argument that was probably meant, and never with the name of a function inside."""
    with pytest.raises(TypeError, match="there is no argument 'return_'; did you mean 'returns'"):
        ask(staffed, return_="arrow")
    with pytest.raises(TypeError, match=r"there is no argument 'qqqq'$"):
        ask(staffed, qqqq=1)
    with pytest.raises(InvalidRequest, match="errors: is 'retrun'; choose 'raise' or 'return'"):
        staffed.store.get_or_compute_many([], errors="retrun")


def test_a_missing_raw_file_is_a_typed_error(staffed):
    """A path that leads nowhere is refused before anything is queued."""
    with pytest.raises((SourceChanged, StorageUnavailable)) as caught:
        ask(staffed, raw_data=ParquetSource(staffed.root.parent / "missing.parquet"))
    assert "missing.parquet" in str(caught.value)
    assert_pickles(caught.value)


def test_a_raw_file_outside_the_allowed_folders_is_refused(staffed, tmp_path):
    """Neither a path nor a link leads a worker to files outside DATA_ROOTS."""
    outside = tmp_path / "outside.parquet"
    RAW.to_parquet(outside)
    link = staffed.root.parent / "link.parquet"
    link.unlink(missing_ok=True)
    link.symlink_to(outside)

    for path in (outside, link, staffed.root.parent / ".." / ".." / outside.relative_to("/")):
        with pytest.raises(SourceNotAllowed) as caught:
            ask(staffed, raw_data=ParquetSource(path))
        assert_pickles(caught.value)


def test_a_worker_refuses_such_a_file_by_itself(staffed, tmp_path):
    """The worker does not trust the trainer's check: with other settings there the error is the same."""
    outside = tmp_path / "outside.parquet"
    RAW.to_parquet(outside)
    careless = staffed.open(data_roots=str(tmp_path))

    with careless, pytest.raises(SourceNotAllowed) as caught:
        careless.get_or_compute("BAD", ParquetSource(outside), {}, sample_features.scaled, timeout=30)
    assert str(tmp_path) not in caught.value.roots


@pytest.mark.parametrize("rows", [0, 1])
def test_hardly_any_rows_are_an_ordinary_input(staffed, rows):
    """An empty frame in gives the function's answer for it."""
    found = ask(staffed, raw_data=RAW.head(rows))
    pd.testing.assert_frame_equal(found, RAW.head(rows) * 2)


def test_a_frame_without_columns_is_an_ordinary_input(staffed):
    """No rows and no columns are data like any other."""
    assert ask(staffed, raw_data=pd.DataFrame()).empty


def test_duplicate_column_names_are_refused_in_raw_data(staffed):
    """Such a frame has no faithful digest."""
    with pytest.raises(UnhashableInput, match="price") as caught:
        ask(staffed, raw_data=pd.concat([RAW, RAW], axis=1))
    assert_pickles(caught.value)


def test_duplicate_column_names_are_refused_in_results(staffed):
    """The error names the column, and the function's author."""
    with pytest.raises(ComputeFailed, match="duplicate column names: price") as caught:
        ask(staffed, compute_func=sample_features.doubled_columns)
    assert_pickles(caught.value)


def test_a_result_that_is_no_frame_is_refused(staffed):
    """The error tells what came back instead."""
    with pytest.raises(ComputeFailed, match="returned int") as caught:
        ask(staffed, compute_func=sample_features.no_frame)
    assert caught.value.error_type == "UnstorableResult"
    assert_pickles(caught.value)


@pytest.mark.parametrize("symbol", ["A" * 4096, "", "a\0b", "a\nb", "\ud800", None, 7, b"AAPL"])
def test_a_symbol_outside_the_limits_is_refused(staffed, symbol):
    """Symbols have 1 to 256 printable characters."""
    with pytest.raises(InvalidRequest) as caught:
        ask(staffed, symbol=symbol)
    assert caught.value.field == "symbol"
    assert_pickles(caught.value)


@pytest.mark.parametrize(
    "symbol",
    ["../../x", "/etc/passwd", "%2e%2e%2f", "'; DROP TABLE manifest; --", "%(key)s", "{}", "A" * 256, "日経", "a b"],
)
def test_an_odd_symbol_is_only_a_name(staffed, symbol):
    """It becomes part of no path and of no statement; the answer is right and stays inside the store."""
    found = ask(staffed, symbol=symbol)

    entry = staffed.store.peek(symbol, RAW, {}, sample_features.scaled)
    pd.testing.assert_frame_equal(found, RAW * 2)
    assert entry.parts.symbol == symbol
    assert (staffed.root / entry.path).resolve().is_relative_to(staffed.root.resolve())
    assert "manifest" in {table for (table,) in staffed.store.resources.database.query("SELECT relname FROM pg_class")}


@pytest.mark.parametrize(
    "config",
    [{"x": float("nan")}, {"x": {1, 2}}, {"x": np.zeros(3)}, {1: 2}, {"x": object()}, {"x": "y" * 100_000}, None, [1]],
)
def test_a_config_without_a_faithful_form_is_refused(staffed, config):
    """Nothing in a config is guessed or dropped."""
    with pytest.raises(UnhashableInput) as caught:
        ask(staffed, config=config)
    assert_pickles(caught.value)


@pytest.mark.parametrize("raw", [None, 3, "path.parquet", RAW["price"], [RAW], pd.DataFrame({"a": [object()]})])
def test_raw_data_without_a_faithful_digest_are_refused(staffed, raw):
    """Only frames, tables and Parquet sources have a fingerprint."""
    with pytest.raises(UnhashableInput) as caught:
        ask(staffed, raw_data=raw)
    assert_pickles(caught.value)


@pytest.mark.parametrize("returns", ["modin", "", None])
def test_an_unknown_form_of_the_answer_is_refused(staffed, returns):
    """The error lists the forms there are."""
    with pytest.raises(InvalidRequest, match="pandas"):
        staffed.store.get_or_compute("BAD", RAW, {}, sample_features.scaled, returns=returns, timeout=5)


@pytest.mark.parametrize("kind", ["surrogate", "no text", "arguments", "long"])
def test_an_error_that_is_hard_to_write_down_still_reaches_the_caller(staffed, tmp_path, kind):
    """Half characters, zero bytes, errors whose text raises and huge texts end the job at the first start."""
    config = {"kind": kind, "marks": str(tmp_path / "marks")}

    with pytest.raises(ComputeFailed) as caught:
        ask(staffed, config=config, compute_func=sample_features.unspeakable)

    assert len(list((tmp_path / "marks").iterdir())) == 1
    assert len(str(caught.value)) < 20_000
    assert_pickles(caught.value)


def for_feature(staffed, feature):
    """Return a request for a feature as this process would make it if it had that one."""
    known = staffed.store._prepare("BAD", RAW, {}, sample_features.scaled)
    parts = replace(known.parts, feature=feature.name, feature_version=feature.version)
    return replace(known, key=key_of(parts), parts=parts, feature=feature)


def test_a_function_the_workers_do_not_know_is_an_error_not_a_wait(staffed):
    """A trainer with a newer or another set of features than the workers is told so at once."""
    known_here = Feature("tests.elsewhere:unknown", never_registered, "1", "digest", True, "pandas")
    asked = for_feature(staffed, known_here)

    (answer,) = answer_misses(staffed.store.resources, [asked], seconds=20)

    assert isinstance(answer.error, FeatureNotRegistered), answer.error


def test_another_version_on_the_workers_is_an_error_not_a_wait(staffed):
    """The error names both versions."""
    newer = Feature("tests.sample_features:scaled", never_registered, "2", "digest", True, "pandas")
    asked = for_feature(staffed, newer)

    (answer,) = answer_misses(staffed.store.resources, [asked], seconds=20)

    assert isinstance(answer.error, fstore.VersionMismatch), answer.error
    assert (answer.error.asked, answer.error.found) == ("2", "1")


def test_a_source_that_changes_while_it_waits_is_never_computed_under_its_old_key(staffed):
    """The worker takes the digest of what it read; a changed file is ``SourceChanged``, and its new content a new key."""
    path = staffed.root.parent / "changing.parquet"
    (RAW + 9).to_parquet(path)
    asked = staffed.store._prepare("BAD", ParquetSource(path), {}, sample_features.scaled)
    (RAW + 10).to_parquet(path)

    (answer,) = answer_misses(staffed.store.resources, [asked], seconds=20)

    assert isinstance(answer.error, SourceChanged)
    pd.testing.assert_frame_equal(ask(staffed, raw_data=ParquetSource(path)), (RAW + 10) * 2)
    assert staffed.store.resources.manifest.find_live(asked.key) is None


def test_anothers_forbidden_path_is_not_held_against_the_same_data_elsewhere(staffed, tmp_path):
    """The key is that of the content: a caller whose own copy can be read is not told that another one cannot."""
    raw = RAW + 5
    outside, inside = tmp_path / "same.parquet", staffed.root.parent / "same.parquet"
    raw.to_parquet(outside)
    raw.to_parquet(inside)
    with staffed.open(data_roots=str(tmp_path)) as careless, pytest.raises(SourceNotAllowed):
        careless.get_or_compute("BAD", ParquetSource(outside), {}, sample_features.scaled, timeout=30)

    for own in (ParquetSource(inside), raw):
        pd.testing.assert_frame_equal(ask(staffed, raw_data=own), raw * 2)


def test_staged_raw_data_that_rot_are_staged_anew(staffed):
    """A damaged copy on its way to the worker costs time only: the trainer still has the data."""
    raw = pd.DataFrame({"price": np.arange(1000.0)})
    asked = staffed.store._prepare("BAD", raw, {"seconds": 0, "rows": 1000}, sample_features.slow)
    staged = (
        staffed.root / fstore.compute.raw_data.stage_raw(staffed.store.resources.staging, raw, asked.fingerprint).path
    )
    staged.chmod(0o640)
    damaged = bytearray(staged.read_bytes())
    damaged[len(damaged) // 2] ^= 0x10
    staged.write_bytes(damaged)

    found = ask(staffed, raw_data=raw, config={"seconds": 0, "rows": 1000}, compute_func=sample_features.slow)

    pd.testing.assert_frame_equal(found, raw)


def test_nothing_of_all_this_leaves_a_job_behind(staffed):
    """After the last answer no job is queued or running, and no lock is held."""
    resources = staffed.store.resources

    def idle() -> bool:
        jobs = resources.jobs.count_by_state()
        return not (jobs.get("queued") or jobs.get("running"))

    eventually(idle, seconds=10, what="all jobs to end")
    assert resources.redis_server._link.call("looking", lambda client: client.keys("fstore:dedup:*")) == []


def assert_pickles(error: FeatureStoreError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
