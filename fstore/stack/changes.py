"""Changes of a running stack, tried before they are made.

On a thread, so that nothing goes unwatched meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fstore.errors import ConfigurationError
from fstore.stack.layout import Layout
from fstore.stack.orders import Change, answer, take
from fstore.stack.plan import QUEUES
from fstore.stack.processes.children import ChildSpec
from fstore.stack.processes.watchdog import Watchdog

LOOK_EVERY_SECONDS = 0.5
Stamp = tuple[int, int]


class ChangeMaker:
    """Makes one change after the other: tried, then the processes replaced, then answered.

    ``trial_of`` gives what has to succeed before; ``change`` makes it in the
    supervisor's plan and returns all children as they are to be. With ``reload`` an
    edit of a feature's file is a change too.
    """

    def __init__(
        self,
        layout: Layout,
        watchdog: Watchdog,
        *,
        trial_of: Callable[[Change], Callable[[], tuple[Path, ...]]],
        change: Callable[[Change], Sequence[ChildSpec]],
        say: Callable[[str], None],
        reload: bool,
    ) -> None:
        self._layout, self._watchdog, self._say = layout, watchdog, say
        self._trial_of, self._change, self._reload = trial_of, change, reload
        self._trial: Trial | None = None
        self._making: Change | None = None
        self._edits = Edits()

    def follow(self, files: Iterable[Path]) -> None:
        """Look out for edits of these files, if they are to be looked out for."""
        self._edits.follow(files if self._reload else ())

    def look(self) -> bool:
        """Take the next step of what is under way; True when the state of the stack changed."""
        if self._making is not None:
            return self._finish(self._making)
        if self._trial is not None:
            if not self._trial.is_over:
                return False
            trial, self._trial = self._trial, None
            return self._make(trial)
        change = take(self._layout) or self._edited()
        if change is not None:
            try:
                self._trial = Trial(change, self._trial_of(change))
            except ConfigurationError as exc:  # the settings around us changed, and the stack goes on without
                self._refuse(change, exc.faults)
        return False

    def _edited(self) -> Change | None:
        if not self._edits.found():
            return None
        self._say("a file of a feature module was edited")
        return Change(mark="", restart=QUEUES)

    def _make(self, trial: Trial) -> bool:
        if trial.faults:
            self._refuse(trial.change, trial.faults)
            return False
        try:
            specs = self._change(trial.change)
        except ConfigurationError as exc:
            self._refuse(trial.change, exc.faults)
            return False
        self._reload = self._reload if trial.change.reload is None else trial.change.reload
        if set(trial.change.restart) & set(QUEUES):
            self.follow(trial.files)
        for spec in specs:
            if spec.name in trial.change.restart:
                self._watchdog.replace(spec)
        self._making = trial.change
        return True

    def _finish(self, change: Change) -> bool:
        if set(change.restart) & set(self._watchdog.replacing()):
            return False
        self._making = None
        lost = [c.spec.name for c in self._watchdog.children if c.spec.name in change.restart and c.phase != "running"]
        self._answer(change, tuple(f"{name} does not start any more; see 'fstore logs {name}'" for name in lost))
        return True

    def _refuse(self, change: Change, faults: Sequence[str]) -> None:
        self._say(f"nothing was restarted: {'; '.join(faults)}")
        self._answer(change, tuple(faults))

    def _answer(self, change: Change, faults: tuple[str, ...]) -> None:
        try:
            answer(self._layout, change, *faults)
        except OSError as exc:  # a full disk must not end the stack; whoever asked waits in vain
            self._say(f"the answer to a change could not be written: {exc}")


class Trial:
    """One change while its feature modules are imported on trial."""

    def __init__(self, change: Change, check: Callable[[], tuple[Path, ...]]) -> None:
        self.change = change
        self.files: tuple[Path, ...] = ()
        self.faults: tuple[str, ...] = ()
        self._check = check
        self._thread = threading.Thread(target=self._run, name="fstore-trial", daemon=True)
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Tell whether ``files`` and ``faults`` are known."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.files = self._check()
        except ConfigurationError as exc:
            self.faults = exc.faults
        except Exception as exc:
            self.faults = (f"the feature modules could not be tried: {type(exc).__name__}: {exc}",)


class Edits:
    """Notices edits of some files, once nobody writes to them any more."""

    def __init__(self, files: Iterable[Path] = ()) -> None:
        self.follow(files)

    def follow(self, files: Iterable[Path]) -> None:
        """Take the files as they are now for unedited."""
        self._files = tuple(files)
        self._known = self._seen = self._stamps()
        self._look_at = time.monotonic() + LOOK_EVERY_SECONDS

    def found(self) -> bool:
        """Tell whether a file was edited since the last time that was told; looks twice a second at most."""
        if not self._files or time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_EVERY_SECONDS
        before, self._seen = self._seen, self._stamps()
        if self._seen == self._known or self._seen != before:  # unedited, or perhaps not yet written to the end
            return False
        self._known = self._seen
        return True

    def _stamps(self) -> dict[Path, Stamp | None]:
        return {path: _stamp(path) for path in self._files}


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None  # an editor may be replacing it
    return status.st_mtime_ns, status.st_size
