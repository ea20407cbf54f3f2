"""What a running local stack says about itself, for whoever connects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fstore.stack.statefile import read_state


def running_stack(root: Path) -> Mapping[str, Any] | None:
    """Return the settings of the stack that runs on ``root``, or None when none does."""
    state = read_state(root)
    if state is None:
        return None
    found: dict[str, Any] = {
        "postgres_url": state.postgres_url,
        "redis_url": state.redis_url,
        "feature_modules": list(state.features),
    }
    return {name: value for name, value in found.items() if value}
