"""Rows that cannot be read: the first ends all.

Unless the caller lets a number of them be left out and told.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fstore.errors import InvalidRequest

_SHOWN = 60


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row of a file, counted from 1 below the names, and why it was left out."""

    file: str
    row: int
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class Refusals:
    """Gathers refused rows, at most ``most``; the next one is an error."""

    def __init__(self, most: int = 0) -> None:
        if isinstance(most, bool) or not isinstance(most, int) or most < 0:
            raise InvalidRequest("max_refused", f"{most!r} is no number of rows")
        self._most = most
        self.rows: list[RefusedRow] = []

    @property
    def allowed(self) -> bool:
        """Whether rows may be left out at all."""
        return self._most > 0

    def told(self) -> tuple[RefusedRow, ...]:
        """List them in the order in which they stand."""
        return tuple(sorted(self.rows, key=lambda row: (row.file, row.row)))

    def add(self, file: Path, row: int, reason: str, hint: str = "") -> None:
        """Note a row, or raise ``InvalidRequest`` that names it and what to do."""
        if len(self.rows) >= self._most:
            more = f"; {len(self.rows)} others were left out before it" if self.rows else ""
            raise InvalidRequest(
                "raw_data",
                f"{file}, row {row}: {reason}{more}; mend or delete that row, or say how many such rows may be left out "
                f"(--max-refused N, max_refused=N){hint}",
            )
        self.rows.append(RefusedRow(str(file), row, reason))


def is_not(column: str, cell: str | None, wants: str) -> str:
    """Say what a cell is and what it should be."""
    if cell is None or not cell.strip():
        return f"{column!r} is empty, not {wants}"
    return f"{column!r} is {cell[:_SHOWN]!r}, not {wants}"
