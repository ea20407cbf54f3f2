"""What belongs to the whole process and not to one function.

Each setting, with how it is read and put back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

log = logging.getLogger("fstore.calling")


@dataclass(frozen=True, eq=False, slots=True)
class ProcessSetting:
    """One thing that is set for all of a process.

    ``blind`` ones are written without a look: reading them changes them, or costs
    more than writing. ``parted`` ones are dicts of which each key stands for itself.
    ``at_import`` ones are also looked at around the import of a module; what is set
    there and is not among them is for libraries to keep, such as ``sys.path``. ``kept`` copies
    what was read, where that would show later changes as well.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    blind: bool = False
    parted: bool = False
    at_import: bool = False
    kept: Callable[[Any], Any] = lambda value: value

    def changes(self, before: Any, now: Any) -> Any:
        """Return what has to be written after ``before`` to come to ``now``; None when they are the same."""
        if before == now:
            return None
        return {key: now[key] for key in before if now.get(key) != before[key]} if self.parted else now

    def parts(self, changed: Any) -> tuple[str, ...]:
        """Name what is set, for people."""
        return tuple(f"{self.name} {key}" for key in changed) if self.parted else (self.name,)


ProcessState = Mapping[ProcessSetting, Any]


def read_state(settings: Iterable[ProcessSetting]) -> ProcessState:
    """Note how things are."""
    return {setting: setting.kept(setting.read()) for setting in settings}


def restore_state(state: ProcessState) -> None:
    """Put back what is not as it was noted.

    What cannot be put back is logged, and the rest is put back all the same.
    """
    for setting, noted in state.items():
        try:
            if setting.blind or setting.read() != noted:
                setting.write(noted)
        except Exception as error:
            log.warning("cannot put back %s: %s: %s", setting.name, type(error).__name__, error)


def state_changes(state: ProcessState) -> ProcessState:
    """Return what was set since ``state`` was noted."""
    found = ((setting, setting.changes(noted, setting.read())) for setting, noted in state.items())
    return {setting: value for setting, value in found if value is not None}


def write_state(changed: ProcessState) -> None:
    """Set what ``state_changes`` found."""
    for setting, value in changed.items():
        setting.write(value)
