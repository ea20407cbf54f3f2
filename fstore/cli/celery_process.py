"""Becomes a Celery process that runs our packages, whatever lies in the folder it is called from."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from fstore.cli.context import Call
from fstore.stack import command_environment


def run_celery(call: Call, app: str, arguments: Sequence[str], more: Mapping[str, str] | None = None) -> NoReturn:
    """Replace this process by ``celery -A <app> <arguments>`` under the command's settings.

    The folder of the call stays on the module path, but behind our packages: one with
    a ``workers`` of its own is no obstacle.
    """
    environment = command_environment(call.settings(), cwd=Path.cwd()) | dict(more or {})
    sys.stdout.flush()
    os.execve(  # noqa: S606 this very interpreter
        sys.executable, [sys.executable, "-P", "-m", "celery", "-A", app, *arguments], environment
    )
