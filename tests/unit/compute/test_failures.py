"""Notes of errors, however odd the errors are."""

from __future__ import annotations

from types import SimpleNamespace

import pandas as pd
import pytest

from fstore.calling.feature_calls import call_feature
from fstore.calling.raised import RaisedByFunction
from fstore.compute.failures import cause_of, error_of, note_of
from fstore.errors import ComputeFailed, FeatureStoreError, StorageFull, StorageUnavailable
from fstore.features.local_features import local
from fstore.increments.execution import _called
from fstore.s3 import BreakerOpen, S3Forbidden, S3Unavailable
from tests.unsettling_features import EXITS, class_name

KEY = "0" * 64


def of_a_partition(error: BaseException) -> BaseException:
    """Return what comes of an error of a function that computes one day."""

    def fails(raw: object, config: object) -> object:
        raise RaisedByFunction(error) if isinstance(error, FeatureStoreError) else error

    try:
        _called(fails, pd.DataFrame(), dict, "arrow", SimpleNamespace(label="2024-01-02"), "2024")  # type: ignore[arg-type]
    except BaseException as raised:
        return raised
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize("how", EXITS)
def test_any_error_has_a_note_that_gives_the_error_of_a_computation(how: str) -> None:
    """One of fstore's own that a function raised says nothing of this store: it is no outage, and no timeout."""
    error = EXITS[how]()
    told = error_of(KEY, note_of(RaisedByFunction(error) if isinstance(error, FeatureStoreError) else error))

    assert type(told) is ComputeFailed
    assert told.error_type == class_name(error)


def test_a_traceback_begins_with_the_functions_own_frame() -> None:
    """How a worker came to call the function is nobody's matter who wrote it; what fstore refuses keeps all of it."""

    def mine(raw: object, config: dict[str, object]) -> object:
        return config["window"]

    with pytest.raises(KeyError) as caught:
        call_feature(local(mine, version="1"), pd.DataFrame(), {})
    with pytest.raises(AttributeError) as own:
        call_feature(None, pd.DataFrame(), {})  # type: ignore[arg-type]

    text = note_of(caught.value).traceback_text
    assert text.startswith("Traceback (most recent call last):\n")
    assert 'return config["window"]' in text
    assert "feature_calls.py" not in text
    assert "feature_calls.py" in note_of(own.value).traceback_text


@pytest.mark.parametrize("how", EXITS)
def test_an_error_of_one_partition_is_told_with_its_name(how: str) -> None:
    """By its own class, also where that or its text fails."""
    error = EXITS[how]()
    raised = of_a_partition(error)
    told = error_of(KEY, note_of(raised))

    assert type(told) is ComputeFailed
    assert told.error_type == class_name(error)
    assert raised is error or "partition 2024-01-02 of 2024" in told.detail


def test_what_nobody_can_write_down_is_no_cause() -> None:
    """Whoever logs the error would fail of it."""
    assert cause_of(EXITS["no traceback"]()) is None
    assert isinstance(cause_of(ValueError("x")), ValueError)


@pytest.mark.parametrize("kind", [S3Unavailable, S3Forbidden, BreakerOpen, StorageFull])
def test_a_backend_of_a_workers_own_kind_of_error_is_told_as_what_it_is(kind: type[StorageUnavailable]) -> None:
    """Whoever waits computes here what cannot be stored, and would raise ``ComputeFailed`` for a name nobody knows."""
    error = kind("s3://bucket", "put failed 2 times")
    told = error_of(KEY, note_of(error))
    assert isinstance(told, StorageUnavailable)
    assert str(told) == str(error)
    assert isinstance(error_of(KEY, note_of(RaisedByFunction(error))), ComputeFailed)
