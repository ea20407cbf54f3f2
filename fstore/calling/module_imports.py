"""What a module sets for the whole process while it is imported.

It holds for that module's own features alone. Python runs a module once, for whoever
imports it first, and so its settings would reach every feature of the process, or not,
by the order of imports. Here each module is taken by itself: what its own lines set is
noted under its name and undone when they have run.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.abc import FileLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from fstore.calling.every_setting import AT_IMPORT
from fstore.calling.process_state import ProcessState, read_state, restore_state, state_changes

_noted: dict[str, ProcessState] = {}


class _Watch(MetaPathFinder):
    """Has the other finders find a module, and looks at what its code sets when it runs."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                # Loaders of files belong to one module each; those of archives and of what is built in do not.
                if isinstance(spec.loader, FileLoader):
                    vars(spec.loader)["exec_module"] = partial(_run, spec.loader)
                return spec
        return None


_watch = _Watch()


def watch_imports() -> None:
    """Take every module by itself that this process imports from now on."""
    if _watch not in sys.meta_path:
        sys.meta_path.insert(0, _watch)


@contextmanager
def watching_imports() -> Iterator[None]:
    """Do so inside the block."""
    watch_imports()
    try:
        yield
    finally:
        sys.meta_path.remove(_watch)


def settings_set_by(module: str) -> ProcessState:
    """Return what a module and the packages around it set when they were imported."""
    found: dict[Any, Any] = {}
    if _noted:
        names = module.split(".")
        for depth in range(1, len(names) + 1):
            for setting, value in _noted.get(".".join(names[:depth]), {}).items():
                found[setting] = {**found.get(setting, {}), **value} if setting.parted else value
    return found


def noted_settings() -> dict[str, tuple[str, ...]]:
    """Name what each module set that set anything."""
    return {
        module: tuple(part for setting, value in changed.items() for part in setting.parts(value))
        for module, changed in sorted(_noted.items())
    }


def _run(loader: Any, module: ModuleType) -> None:
    vars(loader).pop("exec_module", None)
    if threading.current_thread() is not threading.main_thread():
        loader.exec_module(module)  # a setting that appears meanwhile is not its own
        return
    before = read_state(AT_IMPORT)
    try:
        loader.exec_module(module)
    finally:
        _noted.pop(module.__name__, None)
        if changed := state_changes(before):
            _noted[module.__name__] = changed
            restore_state(before)
