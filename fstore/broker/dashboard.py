"""How Flower shows tasks.

The same in ``ops/flowerconfig.py`` and in the stack that ``fstore up`` starts.
"""

from __future__ import annotations

# The uuid comes last: it is the way to a task's own page, where the traceback stands.
FLOWER_COLUMNS = ("name", "state", "kwargs", "result", "received", "runtime", "worker", "uuid")
FLOWER_SETTINGS: dict[str, str | int | float | bool] = {
    "tasks_columns": ",".join(FLOWER_COLUMNS),
    "natural_time": False,
    "inspect_timeout": 3000.0,  # ms: a worker of one process answers between two tasks
    "read_only": True,  # a dashboard shows; whoever must act uses the command line
    # Memory: Flower keeps tasks and workers it saw. Scaled-away workers would stay for ever.
    "max_tasks": 20_000,
    "max_workers": 500,
    "purge_offline_workers": 300,
}


def flower_variables() -> dict[str, str]:
    """Return the settings as the variables that Flower reads."""
    return {
        f"FLOWER_{name.upper()}": str(value).lower() if value in (True, False) else str(value)
        for name, value in FLOWER_SETTINGS.items()
    }
