"""Plain functions as features, where the settings allow it.

They are computed in their own process, keyed by their source.
"""

from __future__ import annotations

import threading
from typing import Any, Literal

from fstore.errors import FeatureNotRegistered
from fstore.features.declarations import Feature
from fstore.features.local_features import LocalFeature, local
from fstore.features.lookup import MARK
from fstore.features.registry import resolve_feature

_MOST = 256
_wrapped: dict[int, LocalFeature] = {}
_guard = threading.Lock()


def find_feature(compute_func: Any, on_unregistered: Literal["raise", "local"] = "raise") -> Feature:
    """Find the feature for what a caller handed in.

    With ``"local"`` what carries no ``@fstore.feature`` is wrapped. It is as if the caller had written
    ``fstore.local(compute_func)``: the digest of the source, and of the values it holds, is the version.
    """
    try:
        found = resolve_feature(compute_func)
        found.require_as_written()
        return found
    except FeatureNotRegistered:
        # A registered function that cannot be found by its name is its author's mistake, not a plain one.
        if on_unregistered != "local" or not callable(compute_func) or hasattr(compute_func, MARK):
            raise
    return _local_of(compute_func).current()


def _local_of(func: Any) -> LocalFeature:
    """Wrap a callable once: reading its source costs more than a hit."""
    with _guard:
        known = _wrapped.get(id(func))
    if known is not None and known.func is func:  # which keeps the number from being another's
        return known
    made = local(func)
    with _guard:
        if len(_wrapped) >= _MOST:
            _wrapped.pop(next(iter(_wrapped)))
        _wrapped[id(func)] = made
    return made
