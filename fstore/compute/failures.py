"""Errors on their way from a worker to everybody who waits for it."""

from __future__ import annotations

import json
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from fstore import errors
from fstore.errors import FeatureStoreError, VersionMismatch
from fstore.increments import PartitionFailed
from fstore.model import FailureNote, JobState, KeyStatus

if TYPE_CHECKING:
    from fstore.broker import ComputeRequest

MAX_TRACEBACK = 8000
MAX_DETAIL = 2000


def note_of(error: BaseException) -> FailureNote:
    """Turn an error into the note that waiters are told; never fails, however odd the error is."""
    try:
        detail = error.said if isinstance(error, PartitionFailed) else f"{error}"
    except BaseException as fault:
        detail = f"(an error whose text cannot be made: {type(fault).__name__})"
    text = "".join(traceback.format_exception(error))
    # What a function raised for one partition is told as its own, with the partition's name.
    kind = error.error_type if isinstance(error, PartitionFailed) else type(error).__name__
    return FailureNote(
        _storable(kind),
        _storable(detail[:MAX_DETAIL]),
        _storable(text[-MAX_TRACEBACK:]),
        _arguments(error),
    )


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
    """Tell whether a note refuses a request for its source code, and that is not the source code of ``asked``.

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
    """Return what one of fstore's own errors is made of again, or nothing when that cannot travel as JSON."""
    if not isinstance(error, FeatureStoreError):
        return ()
    arguments = tuple(list(a) if isinstance(a, tuple) else a for a in error.args)
    try:
        plain = json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return ()
    return arguments if plain == _storable(plain) and "\\u0000" not in plain else ()


def _storable(text: str) -> str:
    """Escape what Postgres' jsonb refuses: zero bytes and halves of surrogate pairs."""
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode("utf-8")
