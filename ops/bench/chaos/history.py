"""The history of a chaos run: written by every process into a file of its own, read as a whole afterwards."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = Mapping[str, Any]


class Journal:
    """Appends records, each in one write: whoever is killed leaves whole lines."""

    def __init__(self, folder: str | Path, who: str) -> None:
        self._who = who
        self._descriptor = os.open(Path(folder) / f"{who}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, **record: Any) -> None:
        """Append a record with its time and author."""
        line = json.dumps({"at": round(time.time(), 4), "who": self._who, **record}, separators=(",", ":"))
        os.write(self._descriptor, line.encode() + b"\n")


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a trainer; ``unknown`` when its process was killed before it ended.

    ``asks`` are the texts of its questions; ``digests`` and ``errors`` have one
    item for each, of which at most one is not None. ``seen`` is the (key, path) of
    the entry that a peek was shown. ``waited_s`` is how long the thread of its process that
    waited longest for a core did so meanwhile.
    """

    id: str
    who: str
    what: str
    asks: tuple[str, ...]
    deadline_s: float
    began: float
    outcome: str = "unknown"
    ended: float | None = None
    took_s: float | None = None
    digests: tuple[str | None, ...] = ()
    errors: tuple[str | None, ...] = ()
    seen: tuple[str, str] | None = None
    waited_s: float = 0.0


def read(folder: Path) -> list[Record]:
    """Return all records of a run in the order of their times."""
    records = [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return sorted(records, key=lambda record: record["at"])


def operations(records: Iterable[Record]) -> tuple[Operation, ...]:
    """Put each operation's start and end together."""
    starts: dict[str, Record] = {}
    ends: dict[str, Record] = {}
    for record in records:
        if record["phase"] == "start":
            starts[record["op"]] = record
        elif record["phase"] in ("ok", "fail"):
            ends[record["op"]] = record
    return tuple(_operation(start, ends.get(op)) for op, start in starts.items())


def write(path: Path, records: Sequence[Record]) -> None:
    """Write a whole history, operations that never ended with a closing ``unknown``."""
    open_ops = [op for op in operations(records) if op.outcome == "unknown"]
    ends = [{"at": op.began, "who": op.who, "phase": "unknown", "op": op.id} for op in open_ops]
    with path.open("w", encoding="utf-8") as out:
        out.writelines(json.dumps(record) + "\n" for record in (*records, *ends))


def _operation(start: Record, end: Record | None) -> Operation:
    begun = Operation(start["op"], start["who"], start["what"], tuple(start["asks"]), start["deadline_s"], start["at"])
    if end is None:
        return begun
    return Operation(
        begun.id, begun.who, begun.what, begun.asks, begun.deadline_s, begun.began,
        outcome=end["phase"], ended=end["at"], took_s=end["took_s"],
        digests=tuple(end.get("digests", ())), errors=tuple(end.get("errors", ())),
        seen=tuple(end["seen"]) if end.get("seen") else None, waited_s=end.get("waited_s", 0.0),
    )  # fmt: skip
