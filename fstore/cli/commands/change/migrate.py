"""``fstore migrate``: bring database and folder up to date."""

from __future__ import annotations

import click

from fstore.bootstrap import prepare
from fstore.cli import errors
from fstore.cli.context import Call, common, pass_call
from fstore.storage import open_storage


@click.command("migrate", epilog=errors.codes(errors.UNAVAILABLE))
@common()
@pass_call
def command(call: Call) -> int:
    """Bring database and folder to what this version needs; safe to repeat.

    From several hosts at once, too.
    """
    settings = call.settings()
    before, after = prepare(settings)
    entries = open_storage(settings).entries
    store_id, location = entries.identity(), entries.capabilities.location
    document = {
        "before": before,
        "after": after,
        "changed": before != after,
        "path": location,
        "store_id": store_id,
    }
    what = f"migrated from {before or 'nothing'} to {after}" if before != after else f"nothing to do, at {after}"
    call.show(document, f"{what}; store {store_id} in {location}")
    return errors.OK
