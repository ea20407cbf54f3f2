"""Notices when a store's clock jumps: ages are differences of its readings."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

from fstore.s3.errors import S3Unavailable

MOST_JUMP_S = 300.0


class ServerClock:
    """Compares the dates of a store's answers with each other, by this host's clock in between."""

    def __init__(self, location: str) -> None:
        self._location = location
        self._ahead_s: float | None = None

    def check(self, date: str | None) -> None:
        """Raise ``S3Unavailable`` when an answer's date does not go on from the one before."""
        try:
            ahead_s = parsedate_to_datetime(date or "").timestamp() - time.time()
        except (ValueError, OverflowError):
            return  # a server that tells no date
        before, self._ahead_s = self._ahead_s, ahead_s
        if before is not None and abs(ahead_s - before) > MOST_JUMP_S:
            raise S3Unavailable(
                self._location,
                f"its clock jumped by {ahead_s - before:+.0f} s between two listings: ages cannot be told",
            )
