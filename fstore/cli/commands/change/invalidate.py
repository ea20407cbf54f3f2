"""``fstore invalidate``: hide entries on purpose."""

from __future__ import annotations

import sys

import click

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.cli.entries import SHOWN_DIGITS, full_key
from fstore.model import EntryState, JobState

MOST_LISTED = 100_000


@click.command("invalidate", epilog=errors.codes(errors.UNAVAILABLE, errors.REFUSED))
@click.option(
    "--key", metavar="K", help="The entry with this key, or its first digits; a failed or dead job may start anew."
)
@click.option("--symbol", metavar="S", help="All entries of this symbol.")
@click.option("--feature", metavar="F", help="All entries of this feature (module:function).")
@click.option("--dry-run", is_flag=True, help="Only tell what would be condemned.")
@click.option("--yes", is_flag=True, help="Do not ask before more than one entry is condemned.")
@common()
@pass_call
def command(call: Call, key: str | None, symbol: str | None, feature: str | None, dry_run: bool, yes: bool) -> int:
    """Condemn entries: hidden now, deleted after the grace period, computed again when asked for.

    Conditions given together must all hold.
    """
    if key is None and symbol is None and feature is None:
        raise click.UsageError("name a --key, a --symbol or a --feature")
    with call.store() as store:
        resources = store.resources
        whole = full_key(resources, key) if key is not None else None
        if whole is not None:
            entry = resources.manifest.find_entry(whole)
            entries = [entry] if entry is not None and entry.state is EntryState.LIVE else []
            entries = [e for e in entries if symbol in (None, e.parts.symbol) and feature in (None, e.parts.feature)]
        else:
            entries = resources.manifest.list_entries(
                symbol=symbol, feature=feature, state=EntryState.LIVE, limit=MOST_LISTED
            )
        job = resources.jobs.find(whole) if whole is not None else None
        starts_anew = job is not None and job.state in (JobState.FAILED, JobState.DEAD)
        condemned = 0
        if not dry_run:
            if len(entries) > 1 and not yes:
                _ask(call, len(entries))
            condemned = store.invalidate(key=whole, symbol=symbol, feature=feature)
    document = {
        "dry_run": dry_run,
        "condemned": condemned,
        "job_may_start_anew": starts_anew and not dry_run,
        "entries": [{"key": e.key, "symbol": e.parts.symbol, "feature": e.parts.feature} for e in entries],
    }
    made = output.table("key", output.Column("symbol", least=8), output.Column("feature", least=16))
    for entry in entries[:20]:
        made.add_row(entry.key[:SHOWN_DIGITS], entry.parts.symbol, entry.parts.feature)
    count = output.number_of(len(entries) if dry_run else condemned, "entry", "entries")
    what = f"would condemn {count}" if dry_run else f"condemned {count}"
    more = f" ({len(entries) - 20} more not shown)" if len(entries) > 20 else ""
    again = "; its job may start anew" if document["job_may_start_anew"] else ""
    call.show(document, *([made] if entries else []), f"{what}{more}{again}")
    return errors.OK


def _ask(call: Call, count: int) -> None:
    if call.as_json or not sys.stdin.isatty():
        raise click.UsageError(f"{count} entries would be condemned; add --yes to do it, or --dry-run to see them")
    click.confirm(f"Condemn {count} entries?", abort=True, err=True)
