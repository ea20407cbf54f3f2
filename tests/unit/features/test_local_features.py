"""Local features: any callable, with names that cannot be mistaken for each other."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fstore.errors import ConfigurationError, FeatureNotRegistered
from fstore.features.declarations import Feature
from fstore.features.local_features import LocalFeature, local
from fstore.features.registry import resolve_feature


def plain(raw: Any, config: Any) -> Any:
    """Return the raw data."""
    return raw


def weighted(raw: Any, config: Any, w: Any = 1) -> Any:
    """Return the raw data and the weight."""
    return raw, w


def made(*held: Any) -> Callable[[Any, Any], Any]:
    """Return a closure that holds a value."""

    def inner(raw: Any, config: Any) -> Any:
        return raw, held

    return inner


class Model:
    """A callable object."""

    def __call__(self, raw: Any, config: Any) -> Any:
        """Return the raw data."""
        return raw

    def method(self, raw: Any, config: Any) -> Any:
        """Return the raw data."""
        return raw


def name_of(func: Callable[..., Any]) -> str:
    """Return the name a callable gets."""
    return local(func, version="1").name


def test_function_keeps_its_name_in_its_own_space():
    """A function is named as it would be registered, behind a prefix no registered feature can have."""
    found = local(plain, version="7", input="arrow")

    assert isinstance(found, LocalFeature)
    assert isinstance(found, Feature)
    assert (found.name, found.func, found.version) == (f"local:{__name__}:plain", plain, "7")
    assert (found.explicit, found.input, len(found.source_digest)) == (True, "arrow", 64)
    assert resolve_feature(found) is found


def test_local_names_cannot_be_asked_for_by_text():
    """Only the process that holds the callable can compute it."""
    with pytest.raises(FeatureNotRegistered):
        resolve_feature(local(plain, version="1").name)


def test_anonymous_callables_are_told_apart_by_what_they_are():
    """Lambdas, closures and partials are one feature when code and held values agree, else different ones."""
    one, other = (lambda raw, config: raw), (lambda raw, config: config)

    assert name_of(one) != name_of(other)
    assert name_of(made(3)) == name_of(made(3))
    assert name_of(made(3)) != name_of(made(5))
    assert name_of(made(3)) != name_of(made(3.0))
    assert name_of(made([1, {"a": (2, None)}])) == name_of(made([1, {"a": (2, None)}]))
    assert name_of(made([1, 2])) != name_of(made([12]))
    assert name_of(made(plain)) != name_of(made(one))
    assert name_of(functools.partial(weighted, w={"a": 1})) != name_of(functools.partial(weighted, w={"a": 2}))
    assert name_of(lambda raw, config, w=1: w) != name_of(lambda raw, config, w=2: w)
    assert name_of(lambda raw, config: config in {1, 2}) != name_of(lambda raw, config: config in {1, 3})
    assert name_of(made(3)).startswith(f"local:{__name__}:made.<locals>.inner#")


def test_what_cannot_be_told_apart_needs_a_name():
    """Callables with hidden content are refused until they are given a name."""

    def early(raw: Any, config: Any) -> Any:
        return late

    for func in (made(object()), made(threading.Lock()), made(x for x in ()), early):
        with pytest.raises(FeatureNotRegistered, match="give it a name"):
            local(func, version="1")
        assert local(func, version="1", name="mine").name == "local:mine"
    late = 1


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", 5])
def test_unusable_names_are_refused(name: Any):
    """A given name is a short printable text."""
    with pytest.raises(FeatureNotRegistered, match="1 to 200"):
        local(plain, version="1", name=name)


def test_faulty_arguments_are_refused():
    """What cannot be called with raw data and config, and versions that could not enter a key, are refused."""
    with pytest.raises(FeatureNotRegistered, match="takes a function"):
        local(5, version="1")  # type: ignore[arg-type]
    with pytest.raises(FeatureNotRegistered, match=r"func\(raw, config\)"):
        local(lambda raw: raw, version="1")
    with pytest.raises(ConfigurationError, match="version must"):
        local(plain, version=2)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="input must"):
        local(plain, version="1", input="polars")  # type: ignore[arg-type]
