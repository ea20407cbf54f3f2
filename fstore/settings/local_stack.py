"""The settings of a process that may work on a local stack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fstore.settings.loading import gather_settings
from fstore.settings.schema import Settings
from fstore.stack_state import running_stack


def load_settings(overrides: Mapping[str, Any] | None = None, *, config_file: Path | None = None) -> Settings:
    """Gather the settings, those of a local stack where nothing else says one.

    Neither argument, environment nor file; the stack runs on the same root, or in ``stack_path``.
    """
    plain = gather_settings(overrides, config_file=config_file)
    stack = running_stack(plain.stack_folder)
    return gather_settings(overrides, config_file=config_file, stack=stack) if stack else plain
