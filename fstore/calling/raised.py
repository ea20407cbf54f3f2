"""What tells an error of a function from one of fstore's own work."""

from __future__ import annotations

from fstore.errors import FeatureStoreError


class RaisedByFunction(Exception):
    """One of fstore's own errors that a function raised, as one that uses a store may.

    It says nothing of the store, the job and the waiters of this computation.
    """

    def __init__(self, error: FeatureStoreError) -> None:
        super().__init__(error)
        self.error = error
