"""The demo's hits once more by ``joblib.Memory``, where that is installed.

In the same processes, on the same cores. It is given what the store was given, a frame or the path of a file, and
hashes its arguments: of a file the path alone, and believes the rest. Nobody else works meanwhile, no worker and no
server, which is in its favour.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Remembered = Callable[[object, str, Mapping[str, Any], str], Any]

GATE = "peer"


def result_of(raw: object, feature: str, config: Mapping[str, Any], kept: str) -> Any:
    """Return a result that was computed before; called once for each request, to fill the cache."""
    del raw, feature, config
    return pickle.loads(Path(kept).read_bytes())  # noqa: S301 written by the demo a moment ago, in its own folder


def remembered(folder: Path) -> Remembered | None:
    """Return ``result_of`` behind a cache of joblib's in a folder; None where joblib is not installed."""
    try:
        from joblib import Memory  # type: ignore[import-untyped]  # noqa: PLC0415 not everybody has it
    except ImportError:
        return None
    cached: Remembered = Memory(folder, verbose=0).cache(result_of, ignore=["kept"])
    return cached
