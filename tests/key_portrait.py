"""Keys of built-in features, and of a user's with and without a version; equal wherever keys must be."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fstore import feature
from fstore.features.feature_modules import load_feature_modules
from fstore.features.keys import canonical_config, key_of
from fstore.features.registry import registered_features
from fstore.fingerprint.identification import identify
from fstore.model import KeyParts


@feature(version="1")
def versioned(raw, config):
    """Return what came."""
    return raw


@feature
def by_source(raw, config):
    """Return what is above a bound."""
    match config.get("bound"):
        case None:
            return raw
        case bound:
            return raw[raw["bid"] > bound]


def keys() -> dict[str, str]:
    """Return a key for each feature, over one frame of texts, numbers and times."""
    load_feature_modules(("fstore.intraday",))
    index = pd.date_range("2024-01-02 09:30", periods=4, freq="s", tz="UTC", unit="ns", name="ts")
    frame = pd.DataFrame(
        {"bid": [1.0, 2.5, np.nan, 4.0], "size": [1, 2, 3, 4], "venue": pd.array(list("abca"), dtype="string")},
        index=index,
    )
    taken = identify(frame, threshold_bytes=1 << 30, policy="full").fingerprint
    config = canonical_config({"window": 5, "bound": 1.5, "names": ["a", "b"]})
    return {
        name: key_of(KeyParts("EURUSD", name, known.version, config, str(taken)))
        for name, known in registered_features().items()
    }
