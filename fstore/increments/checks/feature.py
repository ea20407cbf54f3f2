"""Features as they are checked: by name, by function, or as any function of raw data and config."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pyarrow as pa

from fstore.errors import FeatureNotRegistered, InvalidRequest
from fstore.features import MARK, Feature, InputKind, Partitioning, look_up, resolve_feature
from fstore.fingerprint import to_table
from fstore.increments.checks.check import check_feature
from fstore.increments.checks.report import CheckReport


@dataclass(frozen=True, slots=True)
class CheckedFeature:
    """A function, what it is given, and what is declared of it; nothing if ``declared`` is None."""

    func: Callable[..., Any]
    kind: InputKind
    declared: Partitioning | None

    def check(
        self,
        raw: object,
        config: Mapping[str, Any],
        *,
        tolerance: float = 1e-6,
        suggest: bool = False,
        costs: bool = True,
    ) -> CheckReport:
        """Check it on raw data of any form; raises ``InvalidRequest`` if it declares nothing."""
        if self.declared is None:
            raise InvalidRequest("feature", "it declares no partition=; say what it is to be checked against")
        data = raw if isinstance(raw, pd.DataFrame | pa.Table) else to_table(raw)
        return check_feature(
            self.func, data, config, self.declared, kind=self.kind, tolerance=tolerance, suggest=suggest, costs=costs
        )


def checked_feature(feature: Any) -> CheckedFeature:
    """Return the feature for a function, its name, or what ``fstore.local`` made.

    A registered function, a name ``"module:function"``, or any callable will do.
    """
    if isinstance(feature, str):
        return _by_name(feature)
    if isinstance(feature, Feature) or hasattr(feature, MARK):
        found = resolve_feature(feature)
        return CheckedFeature(found.func, found.input, found.partitioning)
    if not callable(feature):
        raise InvalidRequest("feature", f"{feature!r:.80} is no function and no name like 'module:function'")
    return CheckedFeature(feature, "pandas", None)


def _by_name(name: str) -> CheckedFeature:
    module, _, qualname = name.partition(":")
    if not (qualname and all(part.isidentifier() for part in (*module.split("."), *qualname.split(".")))):
        raise FeatureNotRegistered(name[:200], "a name has the form 'module:function'")
    try:
        importlib.import_module(module)
    except Exception as error:  # it is the user's code
        raise FeatureNotRegistered(
            name,
            f"cannot import {module!r}: {type(error).__name__}: {error}; install it, or put its folder on PYTHONPATH",
        ) from error
    found = look_up(module, qualname)
    if found is None:
        raise FeatureNotRegistered(name, f"{module} has no {qualname!r}")
    return checked_feature(found)
