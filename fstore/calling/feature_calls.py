"""The one place from which feature functions are called."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from contextvars import copy_context
from types import TracebackType
from typing import Any

from fstore.calling.every_setting import PROCESS_SETTINGS
from fstore.calling.module_imports import settings_set_by
from fstore.calling.process_state import ProcessState, read_state, restore_state, write_state
from fstore.calling.raised import RaisedByFunction
from fstore.errors import FeatureStoreError
from fstore.features import Feature


class CleanState:
    """The state in which this process calls every feature.

    None is kept in a process that is not ours, such as a notebook.
    """

    def __init__(self) -> None:
        self._pid: int | None = None
        self._state: ProcessState | None = None
        self._is_stopping: Callable[[], bool] | None = None

    def keep(self, is_stopping: Callable[[], bool]) -> None:
        """Begin: the state is noted at the first call, before any feature ran."""
        self._pid, self._state, self._is_stopping = os.getpid(), None, is_stopping

    def forget(self) -> None:
        """End, as if nothing had begun."""
        self._pid = self._state = self._is_stopping = None

    @property
    def is_kept(self) -> bool:
        """Whether this very process keeps it; one that a feature forked does not."""
        return self._pid == os.getpid()

    def is_told_to_stop(self) -> bool:
        """Return whether this process is on its way out."""
        return self._is_stopping is not None and self._is_stopping()

    def restore(self) -> None:
        """Put everything back; notes the state instead if there is none yet."""
        if self._state is None:
            self._state = read_state(PROCESS_SETTINGS)
        restore_state(self._state)


_here = CleanState()


def keep_clean(*, is_stopping: Callable[[], bool]) -> None:
    """Have every call in this process, a worker's child, begin in one state, whatever ran before.

    ``is_stopping`` tells whether this process was told to stop: only it can tell that
    from a function that ends itself.
    """
    _here.keep(is_stopping)


def stop_keeping_clean() -> None:
    """Have calls in this process leave its state alone, as they do unless ``keep_clean`` was called."""
    _here.forget()


def call_feature(feature: Feature, raw: Any, config: Mapping[str, Any]) -> object:
    """Call the function of a feature and return what it returns.

    Raises where that is not by the code of its version, and ``RaisedByFunction`` for
    what could be taken for an error of fstore's own work. In a worker it runs in the
    state in which the worker began, with what its own module set when it was imported,
    and what it sets ends with it: for the features that follow, and for fstore's own
    work on its result. In a caller's process it runs as things are there, where a
    direct call would give the same.
    """
    try:
        result = _called(feature, raw, config)
    except FeatureStoreError as error:
        raise RaisedByFunction(error) from error
    feature.require_same_modules()
    return result


def _called(feature: Feature, raw: Any, config: Mapping[str, Any]) -> object:
    if not _here.is_kept or threading.current_thread() is not threading.main_thread():
        return feature.func(raw, config)
    _here.restore()
    caller = os.getpid()
    try:
        return copy_context().run(_with_own_settings, feature, raw, config)
    except BaseException as error:
        if _here.is_told_to_stop() and not is_stop(error):
            raise SystemExit(1) from error  # its clean-up failed on the way out
        raise
    finally:
        if os.getpid() != caller:
            os._exit(1)  # a fork that the function made and let return: it has no claim to go on with
        _here.restore()


def trace_of_function(error: BaseException) -> TracebackType | None:
    """Return an error's traceback from the function's own first frame on.

    All of it where fstore itself raised.
    """
    trace, own = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _called.__code__.co_filename:
            own = trace.tb_next
        trace = trace.tb_next
    return own or error.__traceback__


def is_stop(error: BaseException) -> bool:
    """Tell the stop of this process from an error of a function, which may raise ``SystemExit`` as well.

    In a caller's process Python raises what stops it in the main thread alone.
    """
    if not isinstance(error, (SystemExit, KeyboardInterrupt)):
        return False
    return _here.is_told_to_stop() if _here.is_kept else threading.current_thread() is threading.main_thread()


def _with_own_settings(feature: Feature, raw: Any, config: Mapping[str, Any]) -> object:
    write_state(settings_set_by(feature.name.partition(":")[0]))
    return feature.func(raw, config)
