"""Which edits of a feature's own module make a new version: tables, each of whose rows is run."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pandas as pd
import pytest

from fstore.features import registry as features
from fstore.features.source import running_code
from fstore.features.source.digest import source_digest
from tests.unit.features.digests.digest_edits import EDITS, NO_EDITS, PAIRS
from tests.unit.features.digests.rare_edits import RARE_EDITS, RARE_NO_EDITS

Seen = Callable[[str], tuple[str, str]]


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Return a function that runs a module and gives the digest of its ``vwap`` and what that returns."""
    count = 0

    def run(text: str) -> tuple[str, str]:
        nonlocal count
        count += 1
        monkeypatch.setattr(features, "_registry", {})
        file = tmp_path / f"m{count}.py"
        file.write_bytes(text.encode())
        module = ModuleType("alphas")
        module.__file__ = str(file)
        monkeypatch.setitem(sys.modules, "alphas", module)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of accessors that are registered again
            exec(compile(text, str(file), "exec", dont_inherit=True), module.__dict__)  # noqa: S102 our own text
            found: Any = module.vwap
            result = _told(found)
        while hasattr(found, "__wrapped__"):
            found = found.__wrapped__
        assert isinstance(found, FunctionType)
        return source_digest(found), result

    return run


def _told(function: Any) -> str:
    try:
        return str(function(pd.DataFrame({"close": [1.0, 7.0, 11.0]}), {}))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def test_tables_are_long_enough():
    """The tables hold at least what was promised."""
    assert len(EDITS) + len(PAIRS) >= 80
    assert len(NO_EDITS) >= 40


@pytest.mark.parametrize("name", EDITS)
def test_edit_that_changes_the_result_is_seen(seen: Seen, name: str):
    """Whatever way a value takes into the function, another value is another digest."""
    text = EDITS[name]

    digest, result = seen(text.replace("<W>", "5"))
    other_digest, other_result = seen(text.replace("<W>", "9"))

    assert result != other_result
    assert digest != other_digest


@pytest.mark.parametrize("name", PAIRS)
def test_text_that_means_something_else_is_seen(seen: Seen, name: str):
    """Two texts that run differently have two digests, however alike they look."""
    (digest, result), (other_digest, other_result) = map(seen, PAIRS[name])

    assert result != other_result or name == "order of star imports"
    assert digest != other_digest


@pytest.mark.parametrize("name", NO_EDITS)
def test_edit_that_cannot_change_the_result_is_not_seen(seen: Seen, name: str):
    """Comments, layout, docstrings and what the feature does not reach leave the digest as it is."""
    before, after = NO_EDITS[name]
    assert before != after

    assert seen(before) == seen(after)


@pytest.mark.parametrize("name", RARE_EDITS)
def test_edit_on_a_rare_way_is_seen(seen: Seen, name: str, monkeypatch: pytest.MonkeyPatch):
    """Also in a file that is older than the process, whose constants are not compared."""
    monkeypatch.setattr(running_code, "_is_young", lambda file: False)
    text = RARE_EDITS[name]

    digest, result = seen(text.replace("<W>", "5"))
    other_digest, other_result = seen(text.replace("<W>", "9"))

    assert result != other_result
    assert digest != other_digest


@pytest.mark.parametrize("name", RARE_NO_EDITS)
def test_what_stands_beside_rare_ways_is_not_seen(seen: Seen, name: str):
    """The ways count for those who take them."""
    text = RARE_NO_EDITS[name]

    assert seen(text.replace("<W>", "5")) == seen(text.replace("<W>", "9"))
