"""The other modules that a digest covers, as this process has imported them.

Some are imported only when the feature runs, and a notebook loads some again:
then what runs may be newer than the digest.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fstore.features.source import running_code
from fstore.features.source.module_text import SourceUnavailable, own_text, text_of
from fstore.features.source.own_code import Found, find

_checked: dict[str, tuple[int, str]] = {}
# These put new code into functions where they are, without running a module again.
_PATCHERS = ("IPython.extensions.autoreload", "IPython.extensions.deduperreload", "jurigged")


@dataclass(frozen=True, slots=True)
class OwnModule:
    """The module that a feature stands in: its globals, its file, and the text of it that was digested.

    ``reached`` are the names by which the feature found what it leans on there.
    """

    names: Mapping[str, Any]
    file: str
    text: str
    name: str = ""
    reached: frozenset[str] = frozenset()

    def has_file(self) -> bool:
        """Tell a module from a cell of a notebook, which only is a part of one."""
        return os.path.isfile(self.file)  # noqa: PTH113 no path in a shell


class LoadedModules:
    """Own modules with the texts that were digested, and in which run of each module that was.

    ``mixed`` names one that ran again while others that imported from it did not.
    """

    def __init__(
        self,
        found: Mapping[str, Found] | None = None,
        texts: Mapping[str, str | bytes] | None = None,
        own: OwnModule | None = None,
    ) -> None:
        self._found, self._texts, self._own = found or {}, texts or {}, own
        self.mixed = ""
        self._runs = {name: _run_of(name) for name in self._found if name in sys.modules}

    def __reduce__(self) -> tuple[Any, ...]:
        """Which run of a module it was means nothing in another process."""
        return LoadedModules, ()

    def check(self) -> None:
        """Compare the modules that are imported with the texts that were digested.

        Also those that would be imported from a ``.pyc``.
        """
        for name in self._found:
            self._compare(name)

    def check_new(self) -> None:
        """Compare those that were imported for the first time since; raises ``SourceUnavailable``."""
        for name in self._found:
            if name not in self._runs and name in sys.modules and not getattr(_run_of(name), "_initializing", False):
                self._compare(name)
                self._runs[name] = _run_of(name)

    def mixed_after(self, module: str) -> str:
        """Return the name of a module that ran again if another one may still hold parts of its former run."""
        word = re.compile(rf"\b{re.escape(module.rpartition('.')[2])}\b")
        texts = [text for name, text in self._texts.items() if name != module and isinstance(text, str)]
        texts += [self._own.text] if self._own is not None and self._own.has_file() else []
        return module if module and any(word.search(text) for text in texts) else ""

    def is_patched(self) -> bool:
        """Tell whether a notebook's extension put code of edited files into the modules.

        It does so in their place.
        """
        if not any(patcher in sys.modules for patcher in _PATCHERS):
            return False
        try:
            if not self._is_edited():
                return False
            if self._own is not None:
                running_code.check_module(self._own.names, self._own.file, self._own.text, self._own.file)
            for name in self._found:
                _checked.pop(name, None)
                self._compare(name)
        except SourceUnavailable:
            return True
        return False

    def _is_edited(self) -> bool:
        own = self._own
        if own is not None and own.has_file() and own_text(own.file, own.names) != own.text:
            return True
        return any(text_of(found) != self._texts[name] for name, found in self._found.items())

    def count(self) -> int:
        """Count the modules that have run; a module that ran again makes another record."""
        return len(self._runs)

    def names(self) -> frozenset[str]:
        """Name all modules that the digest covers besides the feature's own."""
        return frozenset(self._found)

    def running(self) -> Iterator[tuple[str, Mapping[str, Any], str, frozenset[str] | None]]:
        """Yield the modules that have run: name, globals, digested text, and the names that count.

        None stands for all names.
        """
        own = self._own
        if own is not None and own.has_file():
            yield own.name, own.names, own.text, own.reached
        for name in list(self._runs):  # another thread may add one
            text = self._texts[name]
            if isinstance(text, str) and text and name in sys.modules:
                yield name, vars(sys.modules[name]), text, None

    def loaded_again(self) -> str:
        """Name a module that ran again since; empty when there is none."""
        runs = list(self._runs.items())  # another thread may add one
        return next((name for name, run in runs if name in sys.modules and _run_of(name) is not run), "")

    def has_changed(self) -> bool:
        """Tell whether a digest that is taken now may be another.

        It may if a module ran again, or one that did not run yet was edited.
        """
        if self.loaded_again() or self.is_patched():
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
