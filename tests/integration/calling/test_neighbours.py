"""What one feature does to its process changes nobody else's results."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import psutil
import pytest

from fstore import ComputeFailed, Request, local
from fstore.calling.every_setting import AT_IMPORT
from fstore.calling.process_state import read_state, restore_state
from fstore.reporting.stats import cache_stats
from fstore.stack import temporary_servers
from tests import unsettling_features
from tests.conftest import House, Servers, build_house
from tests.unsettling_features import CHANGES, EXITS, class_name
from tests.waiting import eventually

RAW = pd.DataFrame({"price": [1.0, 2.0, 4.0], "venue": ["A", "B", "A"]})
MODULES = "tests.setting_features,fstore.intraday,tests.sample_features,tests.unsettling_features"
_case = itertools.count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A store with servers and a worker of one process of its own, so that every feature is everybody's neighbour."""
    with temporary_servers() as running, ExitStack() as stack:
        servers = Servers(running.postgres_url, running.redis_url)
        house = build_house(servers, tmp_path_factory.mktemp("neighbours"), stack)
        house.start(
            concurrency=1, FEATURE_STORE_FEATURE_MODULES=MODULES, FEATURE_STORE_WORKER_MAX_TASKS_PER_CHILD="10000"
        )
        yield house


def ask(house: House, function: object, **config: object) -> pd.DataFrame:
    """Have something computed that nobody has asked for."""
    return house.store.get_or_compute("N", RAW, {"case": next(_case), **config}, function, timeout=40)


def told(frame: pd.DataFrame) -> dict[str, object]:
    """Return a frame of one row as a dict."""
    return dict(frame.iloc[0])


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_feature_sets_ends_with_it(shared: House, change: str) -> None:
    """The next feature of the same process finds everything as it was before."""
    before = told(ask(shared, unsettling_features.settled))

    ask(shared, unsettling_features.unsettle, change=change)

    assert told(ask(shared, unsettling_features.settled)) == before


def test_what_a_failing_feature_sets_ends_with_it(shared: House) -> None:
    """An error in between leaves nothing behind either."""
    before = told(ask(shared, unsettling_features.settled))
    for change in ("pandas: strings", "warnings are errors", "signal mask"):
        with pytest.raises(ComputeFailed, match="after the change"):
            ask(shared, unsettling_features.unsettle, change=change, fails=True)

    assert told(ask(shared, unsettling_features.settled)) == before


def test_neighbours_in_a_batch_do_not_notice_each_other(shared: House) -> None:
    """One task computes many keys, and each finds the same state."""
    before = told(ask(shared, unsettling_features.settled))
    requests = []
    for change in CHANGES:
        requests.append(Request("N", RAW, {"case": next(_case), "change": change}, unsettling_features.unsettle))
        requests.append(Request("N", RAW, {"case": next(_case)}, unsettling_features.settled))

    answers = [told(frame) for _, frame in shared.store.get_or_compute_many(requests, timeout=60)]

    states = [answer for answer in answers if "state" in answer]
    assert states == [before] * len(CHANGES)


def test_seeds_do_not_pass_from_one_feature_to_the_next(shared: House) -> None:
    """Who seeds gets its numbers; who does not gets numbers that nobody else had."""
    seeded = [told(ask(shared, unsettling_features.drawn, seed=7)) for _ in range(2)]
    free = [told(ask(shared, unsettling_features.drawn)) for _ in range(2)]

    assert seeded[0] == seeded[1]
    assert len({one["numpy"] for one in (*seeded, *free)}) == 3
    assert len({one["python"] for one in (*seeded, *free)}) == 3


@pytest.mark.parametrize("how", EXITS)
def test_whatever_a_function_raises_is_told_at_once(shared: House, how: str) -> None:
    """Also what is no ``Exception`` reaches who waits, with its type, and the process goes on."""
    error = EXITS[how]()
    before = told(ask(shared, unsettling_features.leaving))

    with pytest.raises(ComputeFailed) as caught:
        ask(shared, unsettling_features.leaving, how=how)

    assert caught.value.error_type == class_name(error)
    assert caught.value.detail == ("(an error whose text cannot be made: Panic)" if how == "no text" else str(error))
    assert told(ask(shared, unsettling_features.leaving)) == before


def test_in_a_batch_too(shared: House) -> None:
    """Of a chunk in which every second function ends itself the others are answered."""
    hows = [how for name in EXITS for how in (name, None)]
    requests = [Request("N", RAW, {"case": next(_case), "how": how}, unsettling_features.leaving) for how in hows]

    answers = [(request.config["how"], answer) for request, answer in shared.store.get_or_compute_many(
        requests, timeout=60, errors="return"
    )]  # fmt: skip

    assert {type(answer) for how, answer in answers if how is not None} == {ComputeFailed}
    assert len({told(answer)["pid"] for how, answer in answers if how is None}) == 1
    assert len(answers) == len(requests)


@pytest.mark.parametrize("how", ["fork", "spawn", "forkserver", "executor", "joblib"])
def test_a_feature_may_start_processes(shared: House, how: str) -> None:
    """The usual pools work inside a feature."""
    assert ask(shared, unsettling_features.pooled, how=how)["squares"].tolist() == [0, 1, 4, 9, 16]


def test_a_fork_takes_signals_as_any_process_does(shared: House) -> None:
    """The pool's own handlers would leave it waiting for work when its pool tells it to end."""
    assert ask(shared, unsettling_features.signals_of_a_fork)["ends"].all()


def test_a_fork_that_returns_does_not_go_on_as_a_worker(shared: House) -> None:
    """It ends at once: the claim, the connections and the pipes are its parent's."""
    assert ask(shared, unsettling_features.forked)["code"].tolist() == [1]


@pytest.mark.parametrize("how", EXITS)
def test_a_local_function_is_heard_as_well(shared: House, how: str) -> None:
    """Computed in the caller's process, it ends neither the caller nor its thread, and nobody waits for it."""

    def leave(raw: object, config: object) -> object:
        raise EXITS[how]()

    function = local(leave, version="1", name=f"leave {how}")
    for _ in range(2):  # the second is told what is remembered
        with pytest.raises(ComputeFailed) as caught:
            shared.store.get_or_compute("N", RAW, {}, function, timeout=20)
        assert caught.value.error_type == class_name(EXITS[how]())


def test_a_stop_is_no_failure_however_the_function_takes_it(house: House, tmp_path: Path) -> None:
    """A function whose clean-up fails when its process is told to stop is started again elsewhere, and nobody is told."""
    house.start(concurrency=1, FEATURE_STORE_FEATURE_MODULES=MODULES)
    marks = tmp_path / "marks"
    ticket = house.store.submit("N", RAW, {"marks": str(marks)}, unsettling_features.clumsy)
    eventually(lambda: marks.exists() and any(marks.iterdir()), seconds=30, what="the first start")

    os.kill(int(next(marks.iterdir()).name.split("-")[0]), signal.SIGTERM)

    pd.testing.assert_frame_equal(ticket.result(timeout=40), RAW.head(2))


def test_processes_that_are_left_behind_end_with_the_worker(house: House) -> None:
    """A program in a session of its own, a fork, and one whose parent has ended: all are gone, and counted."""
    worker = house.start(concurrency=1, FEATURE_STORE_FEATURE_MODULES=MODULES)
    pids = ask(house, unsettling_features.leaving_behind)["pid"].tolist()
    assert all(psutil.pid_exists(pid) for pid in pids)

    worker.terminate()
    worker.wait(40)

    assert not [pid for pid in pids if is_running(pid)]
    assert cache_stats(house.store.resources)["processes_ended"] == 3


def test_processes_that_are_left_behind_end_with_the_hard_limit(house: House, tmp_path: Path) -> None:
    """A child that is killed for its time takes along what it started."""
    house.start(concurrency=1, FEATURE_STORE_FEATURE_MODULES=MODULES, FEATURE_STORE_COMPUTE_TIME_LIMIT_S="3")
    noted = tmp_path / "pids"
    house.store.submit("N", RAW, {"pids": str(noted)}, unsettling_features.leaving_behind)
    eventually(lambda: noted.exists() and noted.read_text(), seconds=30, what="the processes")
    pids = [int(pid) for pid in noted.read_text().split()]

    eventually(lambda: not [pid for pid in pids if is_running(pid)], seconds=20, what="their end")


@pytest.fixture
def setting_module() -> Iterator[None]:
    """Import the module that sets things, and spare this process what it sets."""
    before = read_state(AT_IMPORT)
    import tests.setting_features  # noqa: F401

    restore_state(before)
    yield


def test_what_a_module_sets_holds_for_its_own_features(shared: House, setting_module: None) -> None:
    """Its features run as in a process that imported it; what a library sets holds for nobody."""
    from tests import setting_features

    assert told(ask(shared, setting_features.own)) == {"dtype": "object", "divide": "raise", "hour": 9, "precision": 6}


def test_what_a_module_sets_holds_for_nobody_else(shared: House) -> None:
    """The features of other modules run as if it had not been imported."""
    found = ask(shared, unsettling_features.settled)
    assert "'raise'" not in found["state"].item()
    assert "('str',)" not in found["state"].item() and "JST" not in found["state"].item()
    assert str(found["text"].dtype) == "str"
    returns = shared.store.get_or_compute("N", RAW, {"horizons": [1]}, "fstore.intraday:log_returns", timeout=40)
    assert len(returns) == len(RAW)


def test_the_doctor_names_modules_that_set_things(house: House) -> None:
    """Module, settings and what to do instead; a warning and no fault."""
    said = subprocess.run(
        [sys.executable, "-m", "fstore.cli", "doctor", "--json"], capture_output=True, text=True, check=False,
        env={**os.environ, **house.environment, "FEATURE_STORE_FEATURE_MODULES": MODULES}, timeout=60,
    )  # fmt: skip

    found = [finding for finding in json.loads(said.stdout)["findings"] if finding["check"] == "module settings"]
    assert {finding["level"] for finding in found} == {"warning"}
    text = json.dumps(found)
    for part in (
        "tests.setting_features",
        "future.infer_string",
        "the time zone",
        "tests.setting_library",
        "display.precision",
        "pandas.option_context",
    ):
        assert part in text


def is_running(pid: int) -> bool:
    """Tell whether a process is there and has not ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
