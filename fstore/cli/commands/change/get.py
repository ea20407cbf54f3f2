"""``fstore get``: one feature from the shell."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fstore.cli import errors
from fstore.cli.context import Call, common, pass_call
from fstore.cli.requests import config_of, source_of
from fstore.errors import InvalidRequest

if TYPE_CHECKING:
    import pandas as pd

WRITERS = {".parquet": "to_parquet", ".csv": "to_csv", ".feather": "to_feather"}


@click.command("get", epilog=errors.codes(errors.UNAVAILABLE, errors.REFUSED))
@click.argument("symbol")
@click.argument("raw")
@click.option("--feature", required=True, metavar="MODULE:FUNCTION", help="The feature to ask for.")
@click.option("--config", "config_text", default="{}", show_default=True, metavar="JSON", help="The feature's config.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write the frame: .parquet, .csv or .feather.")  # fmt: skip
@click.option("--rows", type=click.IntRange(0, 10_000), default=10, show_default=True, help="Show so many rows.")
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), metavar="S", help="Wait at most so many seconds."
)
@common(file_option=("-c", "--settings"))
@pass_call
def command(
    call: Call,
    symbol: str,
    raw: str,
    feature: str,
    config_text: str,
    out: Path | None,
    rows: int,
    timeout: float | None,
) -> int:
    """Ask for one feature of SYMBOL's data in RAW, compute it if need be, and show or write it.

    RAW is a Parquet file or a folder of them, or s3://bucket/key. The same request in Python would be
    fstore.connect().get_or_compute(SYMBOL, fstore.ParquetSource(RAW), CONFIG, FEATURE).
    """
    if out is not None and out.suffix not in WRITERS:
        raise InvalidRequest("--out", f"{out.name} ends in none of {', '.join(WRITERS)}")
    source, config = source_of(raw), config_of(config_text)
    with call.store() as store:
        before = store.peek(symbol, source, config, feature)
        began = time.monotonic()
        frame = store.get_or_compute(symbol, source, config, feature, timeout=timeout)
        seconds = time.monotonic() - began
        entry = store.peek(symbol, source, config, feature)
    if out is not None:
        _write(frame, out)
    columns = {str(name): str(dtype) for name, dtype in frame.dtypes.items()}
    document = {
        "key": entry.key if entry else None,
        "status": "hit" if before else "computed",
        "seconds": round(seconds, 4),
        "rows": len(frame),
        "columns": columns,
        "out": str(out) if out else None,
    }
    what = f"{document['status']}: {len(frame)} rows of {len(columns)} columns in {seconds:.3f} s"
    call.show(
        document, *([frame.head(rows).to_string()] if rows else []), what + (f", written to {out}" if out else "")
    )
    return errors.OK


def _write(frame: pd.DataFrame, out: Path) -> None:
    try:
        getattr(frame, WRITERS[out.suffix])(out)
    except (OSError, ValueError) as error:
        raise InvalidRequest("--out", f"cannot write {out}: {error}") from error
