"""``fstore explain``: what a request would meet."""

from __future__ import annotations

import click

from fstore.cli import errors
from fstore.cli.context import Call, common, pass_call
from fstore.cli.requests import config_of, source_of


@click.command("explain", epilog=errors.codes(errors.UNAVAILABLE, errors.REFUSED))
@click.argument("symbol")
@click.argument("raw")
@click.option("--feature", required=True, metavar="MODULE:FUNCTION", help="The feature that would be asked for.")
@click.option("--config", "config_text", default="{}", show_default=True, metavar="JSON", help="The feature's config.")
@common(file_option=("-c", "--settings"))
@pass_call
def command(call: Call, symbol: str, raw: str, feature: str, config_text: str) -> int:
    """Tell whether a request hits and why not, and who computes it.

    Shows every part of its key, and the nearest earlier entry. RAW is a Parquet file or a folder of
    them, or s3://bucket/key. Computes nothing. The file with fstore's own settings is given by -c here, as --config
    is the feature's.
    """
    source = source_of(raw)
    with call.store() as store:
        explanation = store.explain(symbol, source, config_of(config_text), feature)
    call.show(explanation.as_dict(), str(explanation))
    return errors.OK
