"""An entry as a process holds it in memory: its table, and what was made over the same pages."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pyarrow as pa

from fstore.results import FORMS, Form
from fstore.storage.parquet import SMALL
from fstore.storage.unnamed_files import Identity, UnnamedFile

MOST_PARTS = 64  # of one entry, whose frames share its pages; those of further ones are copies


@dataclass(slots=True)
class MappedEntry:
    """An entry in memory: the table as it is, and frames over the same pages.

    A base is never handed out itself. Under copy-on-write every frame that is
    handed out shares its pages and copies before it writes, as long as the base lives;
    without it a write would meet read-only memory. So only what the cache keeps for
    good (``kept``) has one.
    """

    table: pa.Table
    identity: Identity
    touched_at: float
    file: UnnamedFile | None = None
    kept: bool = False
    bases: dict[Form, list[Any]] = field(default_factory=dict)
    parts: dict[Hashable, MappedEntry] = field(default_factory=dict)

    def part(self, wanted: Hashable, take: Callable[[pa.Table], pa.Table]) -> MappedEntry:
        """Return what ``take`` takes of the table for ``wanted``, over the same pages."""
        found = self.parts.get(wanted)
        if found is None:
            # Bases of parts are kept for good as well, so there are not more of them than there is use for.
            kept = self.kept and len(self.parts) < MOST_PARTS
            found = MappedEntry(take(self.table), self.identity, self.touched_at, kept=kept)
            found = self.parts.setdefault(wanted, found) if kept else found
        return found

    def in_form(self, form: Form) -> Any:
        """Return the entry in a form, over the mapped pages where all of it can lie there.

        Changing it changes no other.
        """
        if not self.kept or self.table.nbytes <= SMALL:
            return form.of_table(self.table)
        if form not in self.bases:
            base = form.base_over(self.table)
            # Two threads at once: both bases are kept, for frames over each may be in use.
            self.bases.setdefault(form, []).extend([] if base is None else [base])
        bases = self.bases[form]
        return form.hand_out(bases[0]) if bases else form.of_table(self.table)

    def frame(self) -> pd.DataFrame:
        """Return the entry as a pandas frame."""
        frame: pd.DataFrame = self.in_form(FORMS["pandas"])
        return frame
