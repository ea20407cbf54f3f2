"""Callables of scripts and notebooks whose edits make another name or version: a table, each of whose rows is run."""

from __future__ import annotations

import linecache
import sys
import warnings
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

import fstore
from fstore.errors import FeatureNotRegistered
from tests.unit.features.held_edits import HEAD, HELD_EDITS

KEYS: list[dict[str, str]] = [{}, {"version": "1"}, {"name": "chosen"}]


def _script(text: str, file: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Run a text as the running script, or as the cell of a notebook when its lines can be read."""
    module = ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", module)
    if not file.startswith("<"):
        monkeypatch.setitem(linecache.cache, file, (len(text), None, text.splitlines(keepends=True), file))
    exec(compile(text, file, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 our own text
    return module


def _key(function: Any, said: dict[str, str]) -> tuple[str, str] | None:
    """Return the name and version of a local feature; None when it is refused."""
    try:
        found = fstore.local(function, **said)  # type: ignore[call-overload]
        return found.name, found.version
    except FeatureNotRegistered:
        return None


def _told(function: Any) -> str:
    try:
        return str(function(pd.DataFrame({"p": [1.0, 7.0, 11.0]}), {}))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


@pytest.mark.parametrize("name", HELD_EDITS)
def test_an_edit_of_a_script_makes_another_key_or_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a callable holds, finds by a text or a name made while it runs, or reaches: with and without its text."""
    for file in ("/tmp/ipykernel_1/1.py", "<stdin>"):  # noqa: S108 a name that notebooks give
        seen: list[tuple[list[Any], str]] = []
        for value in "59":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of accessors that are registered again
                module = _script(
                    HELD_EDITS[name].replace("<W>", value), f"{file}{value}" if "<" in file else file, monkeypatch
                )
                keys = [_key(module.f, said) for said in KEYS]
                seen.append((keys, _told(module.f)))
        (keys, result), (other_keys, other_result) = seen
        assert result != other_result
        for said, key, other in zip(KEYS, keys, other_keys, strict=True):
            assert key is None or key != other or said.get("version") == said.get("name") == "", said


NO_EDITS = {
    "global that no text names": "W = <W>\ndef f(raw, c):\n    return raw.query('p > 5')",
    "global called like a column": "p = <W>\ndef f(raw, c):\n    return raw.query('p > 5')",
    "global beside attributes": "W = <W>\ndef f(raw, c):\n    return getattr(raw, 'shape')",
    "shell's own": "_i7 = '<W>'\nOut = {7: <W>}\n_7 = <W>\ndef f(raw, c):\n    return globals()['f'.lower()].__name__",
    "plain value beside a pickle": "import pickle\nW = <W>\ndef f(raw, c):\n    return pickle.loads(pickle.dumps(1))",
}


@pytest.mark.parametrize("name", NO_EDITS)
def test_what_a_callable_does_not_reach_leaves_its_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that queries a frame does not depend on all of its notebook."""
    text = HEAD + NO_EDITS[name] + "\n"
    first, second = (_key(_script(text.replace("<W>", w), "<stdin>", monkeypatch).f, {"version": "1"}) for w in "59")

    assert first is not None
    assert first == second
