"""A real Postgres, a real Redis, workers, Beat and Flower on one machine.

Without root, Docker or system packages.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fstore.errors import ConfigurationError

if TYPE_CHECKING:
    from fstore.stack.commands import DownReport, down, log_files, restart, up
    from fstore.stack.environment import command_environment, daemon_environment, python_path, stack_settings
    from fstore.stack.processes.identity import TOKEN_VARIABLE, carrying
    from fstore.stack.processes.spawn import Order, spawn
    from fstore.stack.servers.embedded import EmbeddedServers, temporary_servers
    from fstore.stack.servers.ports import choose_port
    from fstore.stack.status_report import ChildStatus, StackStatus, status
    from fstore.stack_state import ChildState, StackState, read_state

_HOMES = {
    "up": "fstore.stack.commands",
    "down": "fstore.stack.commands",
    "restart": "fstore.stack.commands",
    "log_files": "fstore.stack.commands",
    "DownReport": "fstore.stack.commands",
    "status": "fstore.stack.status_report",
    "StackStatus": "fstore.stack.status_report",
    "ChildStatus": "fstore.stack.status_report",
    "read_state": "fstore.stack_state",
    "StackState": "fstore.stack_state",
    "ChildState": "fstore.stack_state",
    "command_environment": "fstore.stack.environment",
    "daemon_environment": "fstore.stack.environment",
    "python_path": "fstore.stack.environment",
    "stack_settings": "fstore.stack.environment",
    "TOKEN_VARIABLE": "fstore.stack.processes.identity",
    "carrying": "fstore.stack.processes.identity",
    "Order": "fstore.stack.processes.spawn",
    "spawn": "fstore.stack.processes.spawn",
    "EmbeddedServers": "fstore.stack.servers.embedded",
    "temporary_servers": "fstore.stack.servers.embedded",
    "choose_port": "fstore.stack.servers.ports",
}

__all__ = [
    "up",
    "down",
    "restart",
    "log_files",
    "status",
    "read_state",
    "EmbeddedServers",
    "temporary_servers",
    "choose_port",
    "StackState",
    "ChildState",
    "StackStatus",
    "ChildStatus",
    "DownReport",
    "command_environment",
    "daemon_environment",
    "python_path",
    "stack_settings",
    "TOKEN_VARIABLE",
    "carrying",
    "Order",
    "spawn",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is asked for: ``read_state`` must not need what only ``up`` needs."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as exc:
        if exc.name not in ("psutil", "filelock"):
            raise
        raise ConfigurationError(
            [f"the embedded stack needs {exc.name}; install it with: pip install 'intraday-fstore[embedded]'"]
        ) from exc
    globals()[name] = value
    return value
