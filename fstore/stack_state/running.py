"""The settings under which a running local stack works."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fstore.stack_state.statefile import read_state

PREFIX = "FEATURE_STORE_"
_OF_ONE_PROCESS = {"path", "heartbeat_file"}


def running_stack(root: Path) -> Mapping[str, Any] | None:
    """Return the settings of the stack that runs on ``root``, or None when none does.

    Trainers on the stack's host keep decoded entries beside it unless they are told
    otherwise.
    """
    state = read_state(root)
    if state is None:
        return None
    given = {
        name.removeprefix(PREFIX).lower(): value for name, value in state.settings.items() if name.startswith(PREFIX)
    }
    found: dict[str, Any] = {
        "local_cache": str(root / "local_cache"),
        **{name: value for name, value in given.items() if name not in _OF_ONE_PROCESS},
        "postgres_url": state.postgres_url,
        "redis_url": state.redis_url,
    }
    return {name: value for name, value in found.items() if value}
