"""All options of pandas at once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pandas as pd

try:
    from pandas._config.config import _global_config as _tree  # type: ignore[attr-defined]
except ImportError:  # another version of pandas keeps them elsewhere
    _tree = None


_last: tuple[Any, dict[str, Any]] = ({}, {})


def read_options() -> dict[str, Any]:
    """Return the value of every option.

    From pandas' own dict, for asking by name takes a hundred times as long and warns.
    """
    global _last  # noqa: PLW0603 they are read twice a call, and hardly ever change
    if _tree is None:
        return _asked_for()
    known = _last
    if _tree != known[0]:
        known = _last = deepcopy(_tree), dict(_leaves(_tree, ""))
    return known[1]


def write_options(options: Mapping[str, Any]) -> None:
    """Set the options that differ, through pandas, which checks some and acts on others."""
    now = read_options()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of options that are deprecated
        for name, value in options.items():
            if now.get(name) != value:
                pd.set_option(name, value)


def _leaves(tree: Mapping[str, Any], prefix: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in tree.items():
        if isinstance(value, dict):
            found += _leaves(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found


def _asked_for() -> dict[str, Any]:
    """Read them the public way."""

    def walk(section: Any, prefix: str) -> None:
        for name in dir(section):
            value = getattr(section, name)
            if type(value) is type(pd.options):
                walk(value, f"{prefix}{name}.")
            else:
                found[prefix + name] = value

    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        walk(pd.options, "")
    return found
