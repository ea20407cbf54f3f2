"""Whose request an error is about."""

from __future__ import annotations

import pickle

import pytest

from fstore.client.request import concerning
from fstore.errors import ComputeDead, ComputeFailed, ComputeTimeout, ManifestUnavailable, VersionMismatch

KEY = "ab" * 32


@pytest.mark.parametrize(
    "error", [ComputeFailed(KEY, "KeyError", "'ask'"), ComputeDead(KEY, 3, "host"), ComputeTimeout(KEY, 1.5, "queued")]
)
def test_a_failed_computation_names_symbol_and_feature(error):
    """In a batch of thousands one sees whose it is; also on the other side of a pickle."""
    assert "ababab" in str(error)

    found = pickle.loads(pickle.dumps(concerning(error, "AAPL", "alphas:spread")))

    assert "alphas:spread of AAPL (abababababab)" in str(found)
    assert (found.symbol, found.feature) == ("AAPL", "alphas:spread")


def test_every_other_error_says_it_below_its_message():
    """Its message is about a server or a file."""
    error = concerning(ManifestUnavailable("look", "away"), "AAPL", "alphas:spread")

    assert error.__notes__ == ["symbol 'AAPL', feature 'alphas:spread'"]


def test_one_error_of_several_requests_is_told_to_each_as_its_own():
    """The cause stays with each of them; nobody is told of another's symbol."""
    shared = ManifestUnavailable("look", "away")
    shared.__cause__ = OSError("refused")

    first, second = (concerning(shared, symbol, "f") for symbol in ("A", "B"))

    assert [(error.symbol, len(error.__notes__)) for error in (first, second)] == [("A", 1), ("B", 1)]
    assert first is shared
    assert second.__cause__ is shared.__cause__
    assert concerning(second, "B", "f") is second


def test_a_feature_that_was_known_already_stays():
    """The name that a refusal carries is the same."""
    error = concerning(VersionMismatch("alphas:spread", "1", "2"), "AAPL", "alphas:spread")

    assert error.feature == "alphas:spread"
    assert error.args == ("alphas:spread", "1", "2")
