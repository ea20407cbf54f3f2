"""``fstore pin``: entries that are kept."""

from __future__ import annotations

import click

from fstore.cli import errors
from fstore.cli.context import Call, common, pass_call
from fstore.cli.pinning import change_pins


@click.command("pin", epilog=errors.codes(errors.UNAVAILABLE, errors.REFUSED))
@click.argument("key", required=False)
@click.option("--symbol", metavar="S", help="All live entries of this symbol.")
@click.option("--feature", metavar="F", help="All live entries of this feature (module:function).")
@click.option("--dry-run", is_flag=True, help="Only tell which entries that are.")
@common()
@pass_call
def command(call: Call, key: str | None, symbol: str | None, feature: str | None, dry_run: bool) -> int:
    """Keep entries whatever their age and the space: garbage collection leaves them alone.

    KEY is an entry's key, or its first digits (6 or more). Conditions given together must all hold. 'fstore invalidate' still hides a pinned entry.
    """
    return change_pins(call, key, symbol, feature, wanted=True, dry_run=dry_run)
