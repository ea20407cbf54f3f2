"""Errors on their way from a worker to everybody who waits for it."""

from __future__ import annotations

import traceback
from contextlib import suppress
from typing import Any

from fstore import errors
from fstore.errors import FeatureStoreError
from fstore.jobs import View
from fstore.model import FailureNote, JobState

MAX_TRACEBACK = 8000
MAX_DETAIL = 2000


def note_of(error: BaseException) -> FailureNote:
    """Turn an error into the note that waiters are told."""
    arguments: tuple[Any, ...] = ()
    if isinstance(error, FeatureStoreError):
        arguments = tuple(list(a) if isinstance(a, tuple) else a for a in error.args)
    detail = f"{error}"[:MAX_DETAIL].replace("\0", "\\0")
    text = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:].replace("\0", "\\0")
    return FailureNote(type(error).__name__, detail, text, arguments)


def error_of(key: str, note: FailureNote) -> FeatureStoreError:
    """Turn a note back into the error to raise: fstore's own as it was, any other as ``ComputeFailed``."""
    kind = getattr(errors, note.error_type, None)
    if isinstance(kind, type) and issubclass(kind, FeatureStoreError) and kind is not errors.ComputeFailed:
        with suppress(TypeError):
            return kind(*note.arguments)
    return errors.ComputeFailed(key, note.error_type, note.detail, note.traceback_text)


def verdict(view: View) -> FeatureStoreError | None:
    """Return the error that a job's row holds for whoever asks now, or None."""
    job = view.job
    if job is None or view.entry is not None:
        return None
    if job.state is JobState.DEAD:
        return errors.ComputeDead(job.key, job.starts, job.owner)
    if job.state is JobState.FAILED and job.remembered and job.failure is not None:
        return error_of(job.key, job.failure)
    return None
