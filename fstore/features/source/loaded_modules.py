"""The other modules that a digest covers, as this process has imported them.

Some are imported only when the feature runs, and a notebook loads some again:
then what runs may be newer than the digest.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from fstore.features.source import running_code
from fstore.features.source.module_text import SourceUnavailable, text_of
from fstore.features.source.own_code import Found, find

_checked: dict[str, tuple[int, str]] = {}


class LoadedModules:
    """Own modules with the texts that were digested, and in which run of each module that was."""

    def __init__(
        self, found: Mapping[str, Found] | None = None, texts: Mapping[str, str | bytes] | None = None
    ) -> None:
        self._found, self._texts = found or {}, texts or {}
        self.mixed = ""  # one that ran again while others that imported from it did not
        self._runs = {name: _run_of(name) for name in self._found if name in sys.modules}

    def __reduce__(self) -> tuple[Any, ...]:
        """Which run of a module it was means nothing in another process."""
        return LoadedModules, ()

    def check(self) -> None:
        """Compare the modules that are imported, or would be from a ``.pyc``, with the texts that were digested."""
        for name in self._found:
            self._compare(name)

    def check_new(self) -> None:
        """Compare those that were imported for the first time since; raises ``SourceUnavailable``."""
        for name in self._found:
            if name not in self._runs and name in sys.modules and not getattr(_run_of(name), "_initializing", False):
                self._compare(name)
                self._runs[name] = _run_of(name)

    def loaded_again(self) -> str:
        """Name a module that ran again since; empty when there is none."""
        return next((name for name, run in self._runs.items() if name in sys.modules and _run_of(name) is not run), "")

    def has_changed(self) -> bool:
        """Tell whether a digest that is taken now may be another: one ran again, or one that did not run yet was edited."""
        if self.loaded_again():
            return True
        try:
            self.check_new()
            return any(
                (found := find(name)) is None or text_of(found) != self._texts[name]
                for name in self._found
                if name not in self._runs or name not in sys.modules
            )
        except SourceUnavailable:
            return True

    def _compare(self, name: str) -> None:
        found, text = self._found[name], self._texts[name]
        if isinstance(text, bytes) or not text:
            return
        names = vars(sys.modules[name]) if name in sys.modules else {"__loader__": found.loader, "__name__": name}
        if _checked.get(name) == (id(names), text):
            return
        running_code.check_module(names, found.file, text, name)
        if name in sys.modules:
            _checked[name] = id(names), text


def _run_of(name: str) -> object:
    return getattr(sys.modules[name], "__spec__", None)  # importlib.reload makes a new one
