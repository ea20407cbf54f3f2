"""What a run of garbage collection did, in the form that people, machines and ``upkeep_runs`` read."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from fstore.upkeep.collection.shard import GarbagePlan

PHASES = ("plan", "revive", "reap", "condemn", "lost", "strays", "vacuum")


@dataclass(slots=True)
class PhaseReport:
    """One phase of a run: entries or files dealt with, their bytes, and how long it took."""

    count: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failed: int = 0


@dataclass(slots=True)
class GarbageReport:
    """One run of garbage collection."""

    dry_run: bool
    forced: bool = False
    run_id: int | None = None
    started_at: datetime | None = None
    plan: GarbagePlan | None = None
    vacuum: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    phases: dict[str, PhaseReport] = field(default_factory=lambda: {name: PhaseReport() for name in PHASES})

    @contextmanager
    def timed(self, name: str) -> Iterator[PhaseReport]:
        """Time a phase while the block runs."""
        began = time.monotonic()
        try:
            yield self.phases[name]
        finally:
            self.phases[name].seconds = round(self.phases[name].seconds + time.monotonic() - began, 6)

    @property
    def files_deleted(self) -> int:
        """Files that this run removed."""
        return self.phases["reap"].count + self.phases["strays"].count

    @property
    def bytes_freed(self) -> int:
        """Bytes of the files that this run removed."""
        return self.phases["reap"].bytes + self.phases["strays"].bytes

    def as_dict(self, *, detail: bool = False) -> dict[str, Any]:
        """Return the report as JSON.

        With ``detail`` every entry and file of the plan is listed, with its reason.
        """
        return {
            "kind": "gc",
            "run_id": self.run_id,
            "dry_run": self.dry_run,
            "forced": self.forced,
            "started_ts": self.started_at.isoformat() if self.started_at else None,
            "skipped": None,
            "summary": {
                "total_files_deleted": self.files_deleted,
                "total_bytes_freed": self.bytes_freed,
                "entries_condemned": self.phases["condemn"].count,
                "entries_revived": self.phases["revive"].count,
                "entries_lost": self.phases["lost"].count,
                "seconds": round(sum(phase.seconds for phase in self.phases.values()), 6),
            },
            "phases": {name: asdict(phase) for name, phase in self.phases.items()},
            "plan": _described(self.plan) if self.plan else None,
            "vacuum": self.vacuum,
            "faults": self.faults,
            **({"details": details(self.plan)} if detail and self.plan else {}),
        }


def details(plan: GarbagePlan) -> dict[str, list[dict[str, Any]]]:
    """Return every single thing a plan names, in the order it would be dealt with."""
    return {
        "revive": [{"key": key} for key in plan.revive],
        "reap": [{"key": d.key, "path": d.path, "bytes": d.size_bytes} for d in plan.reap],
        "condemn": [
            {
                "key": e.candidate.key,
                "path": e.candidate.path,
                "bytes": e.candidate.size_bytes,
                "last_used_ts": e.candidate.last_used_at.isoformat(),
                "reason": str(e.reason),
            }
            for e in plan.evictions
        ],
        "lost": [{"key": row.key, "path": row.path, "bytes": row.size_bytes} for row in plan.lost],
        "strays": [{"path": s.file.path, "bytes": s.file.size_bytes, "reason": str(s.why)} for s in plan.leftovers],
    }


def _described(plan: GarbagePlan) -> dict[str, Any]:
    return {
        "made_ts": plan.made_at.isoformat(),
        "postponed": plan.postponed,
        "found": asdict(plan.totals),
        "revive": {"count": len(plan.revive)},
        "reap": {"count": len(plan.reap), "bytes": sum(d.size_bytes for d in plan.reap)},
        "condemn": _counted((str(e.reason), e.candidate.size_bytes) for e in plan.evictions),
        "lost": {"count": len(plan.lost), "bytes": sum(row.size_bytes for row in plan.lost)},
        "strays": _counted((str(s.why), s.file.size_bytes) for s in plan.leftovers),
    }


def _counted(reasons: Iterable[tuple[str, int]]) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for reason, size_bytes in reasons:
        counts[reason] += 1
        sizes[reason] += size_bytes
    by_reason = {reason: {"count": counts[reason], "bytes": sizes[reason]} for reason in sorted(counts)}
    return {"count": counts.total(), "bytes": sizes.total(), "by_reason": by_reason}
