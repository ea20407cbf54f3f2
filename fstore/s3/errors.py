"""What an object store may answer besides what was asked for.

An object that is not there, or is another than was asked for, is an answer. Everything
else is a state of the store, and never says anything about an object.
"""

from __future__ import annotations

from fstore.errors import StorageUnavailable


class ObjectMissing(Exception):
    """The store says that there is no such object, version or upload; it was asked by name."""

    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class ObjectChanged(Exception):
    """The object is not, or no longer, the one that was asked for, by its ETag, its version or its size."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key, self.reason = key, reason


class S3Unavailable(StorageUnavailable):
    """The object store cannot be reached, or answers with a fault of its own."""

    status = 0
    code = ""
    """The answer's code, empty where there was none; error texts of a store are not quoted, they carry key ids."""


class S3Forbidden(S3Unavailable):
    """The object store says no: these credentials may not do that."""


class BreakerOpen(S3Unavailable):
    """The object store failed several times in a row.

    Nothing was sent, in a few seconds somebody tries again.
    """
