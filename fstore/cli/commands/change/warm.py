"""``fstore warm``: have many features computed before anybody waits for them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.cli.requests import read_requests
from fstore.errors import FeatureStoreError
from fstore.model import Request

MOST_NAMED = 10


@click.command(
    "warm", epilog=errors.codes(errors.WRONG, errors.UNAVAILABLE, errors.REFUSED, wrong="some could not be computed")
)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Wait at most so many seconds."
)
@click.option("--dry-run", is_flag=True, help="Only tell what is there and what is not.")
@common()
@pass_call
def command(call: Call, file: Path, timeout: float | None, dry_run: bool) -> int:
    """Have everything computed that a file of requests names and the store lacks.

    FILE is a YAML or JSON list of requests; every combination of an item's symbols,
    features and configs is asked for:

    \b
      - symbols: [AAPL, MSFT]
        raw: ticks/{symbol}.parquet        # relative to FILE
        feature: fstore.intraday:vwap_bands
        configs: [{window: 20}, {window: 60}]
    """
    requests = read_requests(file)
    faults: list[tuple[Request, FeatureStoreError]] = []
    with call.store() as store, output.progress(quiet=call.as_json) as tell:
        lacking = [request for request, entry in store.peek_many(requests) if entry is None]
        done = Counter(there=len(requests) - len(lacking))
        if not dry_run:
            for request, result in store.get_or_compute_many(lacking, timeout=timeout, errors="return"):
                failed = isinstance(result, FeatureStoreError)
                done["failed" if failed else "computed"] += 1
                if failed:
                    faults.append((request, result))
                tell("features computed", done["computed"] + done["failed"], len(lacking))
    document = {
        "requests": len(requests),
        "there": done["there"],
        "computed": done["computed"],
        "failed": done["failed"],
        "dry_run": dry_run,
        "failures": [
            {"symbol": r.symbol, "feature": r.feature, "config": dict(r.config), **errors.as_document(e)}
            for r, e in faults
        ],
    }
    named = [f"{r.symbol} {r.feature} {dict(r.config)}: {_first_line(e)}" for r, e in faults[:MOST_NAMED]]
    if len(faults) > MOST_NAMED:
        named.append(f"and {len(faults) - MOST_NAMED} more; --json names all")
    did = f"{len(lacking)} to be computed" if dry_run else f"{done['computed']} computed, {done['failed']} failed"
    call.show(
        document,
        *named,
        f"{output.number_of(len(requests), 'request', 'requests')}: {done['there']} there already, {did}",
    )
    return errors.WRONG if faults else errors.OK


def _first_line(error: FeatureStoreError) -> str:
    return str(error).partition("\n")[0]
