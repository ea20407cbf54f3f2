"""Errors on their way from a worker to everybody who waits for it."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fstore import errors
from fstore.calling import RaisedByFunction, trace_of_function
from fstore.errors import FeatureStoreError, VersionMismatch
from fstore.increments import PartitionFailed
from fstore.model import FailureNote, JobState, KeyStatus

if TYPE_CHECKING:
    from fstore.broker import ComputeRequest

MAX_TRACEBACK = 8000
MAX_DETAIL = 2000


def note_of(error: BaseException) -> FailureNote:
    """Turn an error into the note that waiters are told; never fails, however odd the error is."""
    raised, where = _raised(error)
    detail = where + _text(lambda: f"{raised}", "(an error whose text cannot be made: {})")
    text = _text(
        lambda: "".join(traceback.format_exception(type(raised), raised, trace_of_function(raised))),
        "(an error whose traceback cannot be made: {})",
    )
    return FailureNote(
        _storable(_known_name(raised) if raised is error else _class_name(raised)),
        _storable(detail[:MAX_DETAIL]),
        _storable(text[-MAX_TRACEBACK:]),
        _arguments(raised) if raised is error else (),
    )


def cause_of(error: BaseException) -> BaseException | None:
    """Return what another error may be raised from: nothing that those fail of who log it."""
    raised, _ = _raised(error)
    return raised if _text(lambda: "".join(traceback.format_exception(raised)), "") else None


def error_of(key: str, note: FailureNote) -> FeatureStoreError:
    """Turn a note back into the error to raise: fstore's own as it was, any other as ``ComputeFailed``."""
    kind = getattr(errors, note.error_type, None) if note.arguments else None
    if isinstance(kind, type) and issubclass(kind, FeatureStoreError) and kind is not errors.ComputeFailed:
        with suppress(TypeError):
            return kind(*note.arguments)
    return errors.ComputeFailed(key, note.error_type, note.detail, note.traceback_text)


def failure_for(status: KeyStatus, *, waited: bool = False) -> FeatureStoreError | None:
    """Return the error that a job's row holds for whoever asks now, or None.

    Whoever ``waited`` for this very computation is told how it ended, however long
    ago: a short memory must not make slow waiters start it again and again.
    """
    job = status.job
    if job is None or status.entry is not None:
        return None
    if job.state is JobState.DEAD and job.failure is not None:  # somebody stopped it, and says so
        return error_of(job.key, job.failure)
    if job.state is JobState.DEAD:
        return errors.ComputeDead(job.key, job.starts, job.owner)
    if job.state is JobState.FAILED and (job.remembered or waited) and job.failure is not None:
        return error_of(job.key, job.failure)
    return None


def is_anothers_refusal(note: FailureNote, asked: ComputeRequest) -> bool:
    """Tell whether a note refuses a request for its source, which is not that of ``asked``.

    A key does not commit to the source behind an explicit version, so those who share
    it may run different ones.
    """
    if note.error_type != VersionMismatch.__name__ or not note.arguments:
        return False
    refused = error_of("", note)
    if not isinstance(refused, VersionMismatch) or not refused.asked_code or refused.asked != refused.found:
        return False
    return asked.on_source_change == "warn" or any(
        refused.asked_code.get(name) != own
        for name, own in (("source_digest", asked.source_digest), ("input", asked.input))
    )


def _arguments(error: BaseException) -> tuple[Any, ...]:
    """Return what one of fstore's own errors is made of again.

    Nothing when that cannot travel as JSON.
    """
    if not isinstance(error, FeatureStoreError):
        return ()
    arguments = tuple(list(a) if isinstance(a, tuple) else a for a in error.args)
    try:
        plain = json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return ()
    return arguments if plain == _storable(plain) and "\\u0000" not in plain else ()


def _raised(error: BaseException) -> tuple[BaseException, str]:
    """Return what a function raised, and for which partition; any other error as it is."""
    where = ""
    if isinstance(error, PartitionFailed):
        where = f"partition {error.label} of {error.period}: "
        error = error.error
    return (error.error if isinstance(error, RaisedByFunction) else error), where


def _text(make: Callable[[], str], otherwise: str) -> str:
    try:
        return str.__str__(make())
    except BaseException as fault:
        return otherwise.format(_class_name(fault))


def _class_name(error: BaseException) -> str:
    name: str = type.__dict__["__name__"].__get__(type(error))  # a class of classes may say otherwise, or fail
    return name


def _known_name(error: BaseException) -> str:
    """Return the name under which whoever waits knows an error.

    A backend's own kind of ``StorageUnavailable`` is just that.
    """
    if isinstance(error, FeatureStoreError):
        for kind in type(error).__mro__:
            if getattr(errors, kind.__name__, None) is kind:
                return str(kind.__name__)
    return _class_name(error)


def _storable(text: str) -> str:
    """Escape what Postgres' jsonb refuses: zero bytes and halves of surrogate pairs."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
