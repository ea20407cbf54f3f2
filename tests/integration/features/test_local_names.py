"""Local features without a name by hand: computed anew when anything they reach is another, shared when it is not."""

from __future__ import annotations

from itertools import count
from typing import Any

import pandas as pd
import pytest

import fstore
from fstore.errors import FeatureNotRegistered

RAW = pd.DataFrame({"p": [1.0, 2.0]})
_case = count()


def scaled(n: int):
    """Return a callable of this file's that holds a number."""

    def inner(raw, config):
        return raw * n

    return inner


def script(text: str) -> Any:
    """Run a text as somebody's script and return its features."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(text, space)  # noqa: S102 our own text
    return space["features"]


def test_two_scripts_never_answer_for_each_other(staffed):
    """Two people's ``features``, and one's before and after an edit, are different results under one version."""
    symbol = f"SCRIPT-{next(_case)}"
    text = "W = {}\ndef helper(x): return x * W\ndef features(raw, config): return helper(raw)"

    frames = [
        staffed.store.get_or_compute(symbol, RAW, {}, fstore.local(script(text.format(n)), version="1"), timeout=30)
        for n in (2, 3, 2)
    ]

    assert [frame["p"][0] for frame in frames] == [2.0, 3.0, 2.0]
    assert staffed.store.peek(symbol, RAW, {}, fstore.local(script(text.format(2)), version="1")) is not None


def test_wrapped_functions_are_told_apart_and_found_again(staffed):
    """Closures of one factory have results of their own; an equal one made later is a hit."""
    symbol = f"CLOSURE-{next(_case)}"

    frames = [staffed.store.get_or_compute(symbol, RAW, {}, fstore.local(scaled(n)), timeout=30) for n in (2, 3)]

    assert [frame["p"][0] for frame in frames] == [2.0, 3.0]
    assert staffed.store.peek(symbol, RAW, {}, fstore.local(scaled(2))) is not None
    assert staffed.store.peek(symbol, RAW, {}, fstore.local(scaled(4))) is None


def test_what_changes_after_it_was_wrapped_is_seen(staffed):
    """A wrapped callable is asked for as it is at each request."""
    symbol = f"CHANGED-{next(_case)}"
    features = script("W = [2]\nfeatures = lambda raw, config: raw * W[0]")
    wrapped = fstore.local(features, version="1")
    first = staffed.store.get_or_compute(symbol, RAW, {}, wrapped, timeout=30)

    features.__globals__["W"][0] = 3

    assert first["p"][0] == 2.0
    assert staffed.store.get_or_compute(symbol, RAW, {}, wrapped, timeout=30)["p"][0] == 3.0


def test_what_changes_before_it_is_computed_is_refused(staffed, monkeypatch):
    """A submitted callable that holds another value when its turn comes computes nothing under the old key."""
    from fstore.client import local_compute

    symbol = f"SUBMITTED-{next(_case)}"
    features = script("W = 2\nfeatures = lambda raw, config: raw * W")
    wrapped = fstore.local(features, version="1")
    raw_of = local_compute._raw

    def later(*arguments: Any) -> Any:
        features.__globals__["W"] = 3
        return raw_of(*arguments)

    monkeypatch.setattr(local_compute, "_raw", later)
    with pytest.raises(FeatureNotRegistered, match="between the request and the computation"):
        staffed.store.submit(symbol, RAW, {}, wrapped).result(timeout=30)

    features.__globals__["W"] = 2
    assert staffed.store.peek(symbol, RAW, {}, wrapped) is None
