"""What a hundred hosts would ask of the servers: calculated from what this run measured on one machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

HOSTS, TRAINERS, WORKERS = 100, 16, 8
REQUESTS_S, HIT_SHARE = 2.0, 0.95
CONNECTIONS = 2
ENTRY_MB, TIER_SHARE = 4.0, 0.9


def table(benches: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the demand and the limit of each part, as lines of a table."""
    if not {"scale", "manifest"} <= set(benches):
        return "Not calculated: it needs the numbers of scale.py and manifest.py."
    cost = benches["scale"]["measured"]["server ms a request"]
    written = benches["manifest"]["measured"]
    asked = HOSTS * TRAINERS * REQUESTS_S
    hits, misses = asked * HIT_SHARE, asked * (1 - HIT_SHARE)
    cores = {name: (hits * spent["hit"] + misses * spent["miss"]) / 1000 for name, spent in cost.items()}
    usual = written["rows per second"]["fstore"]
    late = written.get("rows per second, flushes delayed", {}).get("fstore")
    connections = HOSTS * (TRAINERS + WORKERS) * CONNECTIONS
    from_folder = hits * (1 - TIER_SHARE) * ENTRY_MB + misses * 2 * ENTRY_MB
    rows = [
        ("requests", f"{asked:,.0f}/s: {hits:,.0f} hits, {misses:,.0f} misses", ""),
        (
            "Postgres, processor",
            f"{cores['postgres']:.2g} cores ({cost['postgres']['hit']:.3g} ms a hit, {cost['postgres']['miss']:.3g} ms a miss)",
            "cores scale it: a SELECT by primary key takes no lock that another waits for",
        ),
        (
            "Postgres, publishes",
            f"{misses:,.0f} rows/s",
            f"{usual:,.0f} rows/s on this disk" + (f", {late:,.0f} with flushes 5 ms later" if late else ""),
        ),
        (
            "Postgres, connections",
            f"{connections:,} ({CONNECTIONS} a process)",
            "a pooler in transaction mode: some hundreds of server connections carry them",
        ),
        (
            "Redis, processor",
            f"{cores['redis']:.2g} cores ({cost['redis']['hit']:.3g} ms a hit, {cost['redis']['miss']:.3g} ms a miss)",
            "one: Redis runs commands on a single thread; above it, larger batches or fewer misses",
        ),
        (
            "shared folder",
            f"{from_folder / 1000:,.1f} GB/s",
            "the file server; the local tier is what keeps hits away from it",
        ),
    ]
    lines = [f"| {' | '.join(row)} |" for row in (("part", "asked of it", "limit"), ("---", "---", "---"), *rows)]
    return "\n".join([assumptions(), "", *lines])


def assumptions() -> str:
    """Say what is assumed."""
    return (
        f"Assumed: {HOSTS} hosts with {TRAINERS} trainers and {WORKERS} worker processes each, {REQUESTS_S:g} requests a second "
        f"and trainer, {HIT_SHARE:.0%} of them hits, entries of {ENTRY_MB:g} MB, {TIER_SHARE:.0%} of hits from the local tier, "
        f"a miss writes its entry and reads raw data of its size. The processor time of the servers is what this "
        f"machine's servers took for the same requests, not a promise for other processors."
    )
