"""From the records of a chaos run to evidence for the checker, and to figures for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from chaos import features
from chaos.asks import Ask
from chaos.checker import LATE, LEFT, LOST, OTHER, WRONG, Change, Damage, EndedRow, Evidence, Pause, Violation
from chaos.history import Record, operations
from chaos.world import GRACE_S


def evidence_of(
    records: Sequence[Record],
    changes: Sequence[Change],
    rows: Sequence[EndedRow],
    leftovers: Sequence[str],
    complaints: Sequence[str],
) -> Evidence:
    """Put together what the checker judges, with a direct call of every question that was asked."""
    done = operations(records)
    asks = {text for op in done for text in op.asks}
    return Evidence(
        operations=done,
        direct={text: features.direct(_ask(text)) for text in asks},
        changes=changes,
        damages=[Damage(r["at"], r["path"]) for r in records if r["phase"] == "damage"],
        pauses=_pauses(records),
        killed=frozenset(r["member"] for r in records if r["phase"] == "killed"),
        rows=rows,
        leftovers=leftovers,
        grace_s=GRACE_S,
        faults_of_processes=[*complaints, *_refusals(records), *_dead_threads(records)],
    )


def figures_of(
    evidence: Evidence, violations: Sequence[Violation], records: Sequence[Record], *, seed: int, seconds: float
) -> dict[str, Any]:
    """Count what was done and found."""
    done = evidence.operations
    kinds = Counter(violation.kind for violation in violations)
    faults = Counter(r["kind"] for r in records if r["phase"] == "fault" and not r["skipped"])
    computes = Counter(r["feature"] for r in records if r["phase"] == "compute")
    published = sum(c.state == "live" and c.was != "live" and not _revived(c, evidence) for c in evidence.changes)
    return {
        "seed": seed,
        "seconds": seconds,
        "operations": len(done),
        "outcomes": dict(Counter(op.outcome for op in done)),
        "operations_by_kind": dict(Counter(op.what for op in done)),
        "errors": dict(Counter(error for op in done for error in op.errors if error)),
        "computes": sum(computes.values()),
        "computes_by_feature": dict(computes),
        "published": published,
        "duplicates": max(0, computes["quick"] + computes["slow"] - published),
        "quarantined": sum(c.state == "quarantined" for c in evidence.changes),
        "condemned": sum(c.state == "condemned" and c.was == "live" for c in evidence.changes),
        "deleted": sum(c.state is None for c in evidence.changes),
        "collections": sum(r["phase"] == "collected" and not r["skipped"] for r in records),
        "slowest_s": max((op.took_s for op in done if op.took_s is not None), default=0.0),
        "faults": sum(faults.values()),
        "faults_by_kind": dict(sorted(faults.items())),
        "faults_skipped": sum(r["phase"] == "fault" and bool(r["skipped"]) for r in records),
        "ended_by_themselves": [r["member"] for r in records if r["phase"] == "ended by itself"],
        "killed_at_stop": [r["member"] for r in records if r["phase"] == "killed at stop"],
        "wrong_results": kinds[WRONG],
        "lost_entries": kinds[LOST],
        "late_calls": kinds[LATE],
        "leftovers": kinds[LEFT],
        "unexpected": kinds[OTHER],
        "violations": [f"{kind}: {what}" for kind, what in violations],
    }


def summary(figures: dict[str, Any]) -> str:
    """Lay the figures out for people."""
    lines = [
        f"{name:<20} {value}"
        for name, value in figures.items()
        if name not in ("violations", "history") and value not in ({}, [])
    ]
    lines += [f"FOUND {violation}" for violation in figures["violations"]]
    if figures["history"]:
        lines.append(f"history of seed {figures['seed']}: {figures['history']}")
    return "\n".join(lines)


def _ask(text: str) -> Ask:
    symbol, ticks, edit, feature, window = text.split(":")
    return Ask(symbol, int(ticks), int(edit), feature, int(window))


def _pauses(records: Sequence[Record]) -> list[Pause]:
    began: dict[str, float] = {}
    found = []
    for record in records:
        if record["phase"] == "pause":
            began[record["member"]] = record["at"]
        elif record["phase"] == "resume" and record["member"] in began:
            found.append(Pause(record["member"], began.pop(record["member"]), record["at"]))
    return found


def _refusals(records: Sequence[Record]) -> list[str]:
    """Return what a collection said that it may not say: servers that are away are allowed, doubt about the store is not."""
    away = {"ManifestUnavailable", "ManifestBusy", "BrokerUnavailable", "S3Unavailable", "BreakerOpen"}
    return [
        f"garbage collection: {r['error']}: {r['text']}"
        for r in records
        if r["phase"] == "not collected" and r["error"] not in away and "lock of this run was lost" not in r["text"]
    ]


def _dead_threads(records: Sequence[Record]) -> list[str]:
    return [f"{r['who']}: thread {r['thread']} died: {r['text']}" for r in records if r["phase"] == "thread died"]


def _revived(change: Change, evidence: Evidence) -> bool:
    """Return whether a row came back with the file it had, rather than with a new one."""
    return any(c.path == change.path and c.at < change.at and c.state == "live" for c in evidence.changes)
