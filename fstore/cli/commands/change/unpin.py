"""``fstore unpin``: entries that need no longer be kept."""

from __future__ import annotations

import click

from fstore.cli import errors
from fstore.cli.context import Call, common, pass_call
from fstore.cli.pinning import change_pins


@click.command("unpin", epilog=errors.codes(errors.UNAVAILABLE, errors.REFUSED))
@click.argument("key", required=False)
@click.option("--symbol", metavar="S", help="All pinned entries of this symbol.")
@click.option("--feature", metavar="F", help="All pinned entries of this feature (module:function).")
@click.option("--dry-run", is_flag=True, help="Only tell which entries that are.")
@common()
@pass_call
def command(call: Call, key: str | None, symbol: str | None, feature: str | None, dry_run: bool) -> int:
    """Let garbage collection decide again about entries that were pinned.

    KEY is an entry's key, or its first digits (6 or more). Conditions given together must all hold.
    """
    return change_pins(call, key, symbol, feature, wanted=False, dry_run=dry_run)
