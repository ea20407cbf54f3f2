"""Stores and tickets that travel to other processes, errors as users see them, progress as programs see it."""

from __future__ import annotations

import itertools
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fstore
from fstore import ComputeFailed, InvalidRequest, Request, UnhashableInput
from tests import sample_features

RAW = pd.DataFrame({"price": np.arange(30.0)})
HERE = Path(fstore.__file__).parent
_case = itertools.count()


def case(**config):
    """Return a config that no other test has."""
    return {"elsewhere": next(_case), **config}


def elsewhere(staffed, given: object, code: str) -> str:
    """Run code in a process that was started anew, with ``given`` unpickled; return what it prints."""
    program = f"import pickle, sys; given = pickle.load(sys.stdin.buffer)\n{code}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("FEATURE_STORE_")}
    done = subprocess.run(
        [sys.executable, "-c", program], input=pickle.dumps(given), capture_output=True, timeout=60, check=False,
        env={**inherited, **staffed.environment}, cwd=HERE.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout.decode().strip()


def test_a_store_is_opened_again_where_it_arrives(staffed):
    """As loaders of data and pools that start processes anew send it; once a process, and anew after it was closed."""
    with staffed.open(request_timeout_s=31) as store:
        code = """
again = pickle.loads(pickle.dumps(given))
assert again is given
print(given.settings.request_timeout_s, given.settings.path, len(pickle.dumps(given)))
given.close()
assert pickle.loads(pickle.dumps(given)) is not given
"""
        seconds, path, _ = elsewhere(staffed, store, code).split()

    assert float(seconds) == 31
    assert path == str(staffed.root)


def test_no_secret_travels(staffed):
    """They come from the surroundings of the process where it arrives."""
    with staffed.open(signing_key="0123456789abcdef0123456789abcdef") as store:
        travelling = pickle.dumps(store)

    for secret in (store.settings.postgres_url, store.settings.redis_url, store.settings.signing_key):
        assert secret.get_secret_value().encode() not in travelling


def test_a_store_over_open_adapters_says_what_to_do(staffed):
    """Nobody knows how it was opened."""
    with pytest.raises(InvalidRequest, match=r"fstore\.connect"):
        pickle.dumps(staffed.store)


def test_a_ticket_is_waited_for_elsewhere(staffed):
    """With the key it had, and the raw data, should the result have to be computed again."""
    with staffed.open() as store:
        ticket = store.submit("ELSEWHERE", RAW, case(factor=3), sample_features.scaled)

        told = elsewhere(staffed, ticket, "print(given.key, given.result(timeout=30)['price'].sum())")

    assert told == f"{ticket.key} {RAW['price'].sum() * 3}"


def test_a_ticket_of_another_version_is_refused_elsewhere(staffed):
    """Its key does not stand for what would be computed there."""
    with staffed.open() as store:
        travelling = pickle.dumps(store.submit("ELSEWHERE", RAW, case(), sample_features.scaled))

    code = """
from fstore.client import ticket
from fstore.features.declarations import Feature
ticket.resolve_feature = lambda name: Feature(name, len, "9", "", True)
try:
    pickle.loads(given)
except Exception as error:
    print(type(error).__name__, error.asked, error.found)
"""
    assert elsewhere(staffed, travelling, code) == "VersionMismatch 1 9"


@pytest.mark.parametrize("door", ["one", "many", "ticket"])
def test_an_error_names_its_request_and_shows_few_frames_of_ours(staffed, door):
    """A traceback leads to the caller's line; what the function raised is in the message."""
    asked = Request("NAMED", RAW, case(), sample_features.failing)
    given = (asked.symbol, asked.raw_data, asked.config, asked.feature)
    with pytest.raises(
        ComputeFailed, match=r"^computing tests\.sample_features:failing of NAMED \(\w+\) failed: "
    ) as it:
        if door == "one":
            staffed.store.get_or_compute(*given, timeout=30)
        elif door == "many":
            list(staffed.store.get_or_compute_many([asked], timeout=30))
        else:
            staffed.store.submit(*given).result(timeout=30)

    assert (it.value.symbol, it.value.feature) == ("NAMED", "tests.sample_features:failing")
    frames = traceback.extract_tb(it.value.__traceback__)
    assert len([frame for frame in frames if Path(frame.filename).is_relative_to(HERE)]) == 1


def test_a_refusal_names_its_request(staffed):
    """Of thousands of frames one cannot be fingerprinted."""
    with pytest.raises(UnhashableInput) as caught:
        staffed.store.get_or_compute("NAMED", RAW, {"x": float("nan")}, sample_features.scaled)

    assert caught.value.__notes__ == ["symbol 'NAMED', feature 'tests.sample_features:scaled'"]
    assert len(traceback.extract_tb(caught.value.__traceback__)) == 2


def test_progress_is_told_to_any_function(staffed):
    """First fingerprints are taken, then results come: hits, what was computed, what failed."""
    known = Request("TOLD", RAW, case(), sample_features.scaled)
    staffed.store.get_or_compute("TOLD", RAW, known.config, known.feature, timeout=30)
    asked = [
        known,
        Request("TOLD", RAW, case(), sample_features.scaled),
        Request("TOLD", RAW, case(), sample_features.failing),
        Request("TOLD", RAW, {"x": float("nan")}, sample_features.scaled),
    ]
    told = []

    list(staffed.store.get_or_compute_many(asked, timeout=30, errors="return", progress=told.append))

    assert [(now.phase, now.done, now.total) for now in told] == [("fingerprints", n, 4) for n in range(4)] + [
        ("results", n, 4) for n in (2, 3, 4)
    ]
    assert (told[-1].hits, told[-1].computed, told[-1].failed) == (1, 1, 2)
    assert str(told[-1]) == "4 of 4: 1 hits, 1 computed, 2 failed"


def test_nobody_knows_how_many_an_iterator_holds(staffed):
    """But how many results there will be."""
    told = []

    requests = (Request("TOLD", RAW, case(), sample_features.scaled) for _ in range(2))
    list(staffed.store.get_or_compute_many(requests, timeout=30, progress=told.append))

    assert [now.total for now in told] == [None, None, 2, 2]
