"""``fstore ingest``: raw files become sealed Parquet, and whatever reads in two ways is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pyarrow.parquet as pq

from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.errors import InvalidRequest
from fstore.fingerprint import identify
from fstore.ingest import PRESETS, UNITS, IngestOptions, IngestReport, expected_bytes, read_dtypes
from fstore.ingest import ingest as ingest_raw
from fstore.model import ParquetSource


@click.command("ingest", epilog=errors.codes(errors.UNAVAILABLE, errors.REFUSED))
@click.argument("src", type=click.Path(path_type=Path), required=False)
@click.argument("dest", type=click.Path(path_type=Path), required=False)
@click.option("--preset", metavar="NAME", help="The published layout of a vendor's files; 'list' shows all.")
@click.option(
    "--symbol-column", metavar="C", help="Make DEST a folder with one file for each symbol in this column, as written."
)
@click.option("--time-column", metavar="C", help="Make this column the index; its times may not go back.")
@click.option("--time-unit", type=click.Choice(list(UNITS)), help="The times are numbers of this since 1970 UTC.")
@click.option("--time-format", metavar="F", help="The times are text in this form of strptime: '%Y%m%d %H%M%S'.")
@click.option(
    "--tz", metavar="Z", help="The zone of naive times, which become UTC: America/New_York, -05:00; or 'naive'."
)
@click.option("--dtype", "dtypes", metavar="C=T", multiple=True, help="The type of a column: price=float64; repeat.")
@click.option(
    "--max-refused", metavar="N", type=int, help="Leave out up to N rows that cannot be read, and tell which."
)
@click.option("--date-column", metavar="C", help="The days stand in this column; put it and a space before the time.")
@click.option("--header/--no-header", default=None, help="CSV: the first row is names whatever it looks like, or data.")
@click.option("--names", metavar="A,B,C", help="CSV: names of the columns, with --no-header or in place of the header.")
@click.option("--delimiter", metavar="D", help="CSV: what separates cells: ';', '|', 'tab', 'space'.  [default: ',']")
@click.option("--decimal", type=click.Choice([".", ","]), help="CSV: the decimal point.  [default: .]")
@click.option("--encoding", metavar="E", help="CSV: latin-1, utf-16, cp1252 and so on.  [default: utf-8]")
@click.option("--skip-rows", metavar="N", type=int, help="CSV: leave out so many lines at the top of each file.")
@click.option("--text-column", "text_columns", metavar="C", multiple=True, help="CSV: keep as text; repeat for others.")
@common()
@pass_call
def command(
    call: Call, /, src: Path | None, dest: Path | None, names: str | None, dtypes: tuple[str, ...], **options: Any
) -> int:
    """Write raw data from SRC (CSV, Parquet or Arrow; a file or a folder) to DEST as sealed Parquet.

    The footer of what is written carries the fingerprint, so that no trainer has to
    scan the data again. Needs no servers. Columns of CSV files get the types that hold
    every cell without loss: numbers with leading zeros, mixed columns and whole numbers
    beyond 64 bits stay text. Empty cells, NA, NaN, null and their like are missing where a
    column is not text. Then it is told how many rows there are, from when to when, which
    gaps and duplicates, and which rows were left out.
    """
    if options["preset"] == "list":
        return _list_presets(call)
    if src is None or dest is None:
        raise click.UsageError(f"Missing argument '{'SRC' if src is None else 'DEST'}'.")
    given: IngestOptions = {}
    given.update({key: value for key, value in options.items() if value not in (None, ())})  # type: ignore[typeddict-item]
    if names is not None:
        given["names"] = names.split(",")
    if dtypes:
        given["dtypes"] = read_dtypes(dtypes)
    reports: list[IngestReport] = []
    given["report"] = reports.append
    total, done = expected_bytes(src) or 0, 0
    with output.progress(quiet=call.as_json) as tell:

        def more(size_bytes: int) -> None:
            nonlocal done
            done += size_bytes
            tell("bytes ingested", done, total)

        source = ingest_raw(src, dest, progress=more, **given)
    written = [Path(file.path) for file in reports[0].files]
    files = [
        {
            "path": str(path),
            "rows": pq.read_metadata(path).num_rows,
            "file_size_bytes": path.stat().st_size,
            "fingerprint": str(identify(ParquetSource(path), threshold_bytes=0).fingerprint),
        }
        for path in written
    ]
    if not files:
        raise InvalidRequest("raw_data", f"{src} has no row, so there is no symbol to write a file for")
    columns = {field.name: str(field.type) for field in pq.read_schema(written[0])}
    (report,) = reports
    files = [about | each.as_dict() for about, each in zip(files, report.files, strict=True)]
    made = output.table(
        output.Column("file", least=24),
        output.Column("rows", right=True),
        output.Column("size", right=True),
        output.Column("fingerprint", leave=1),
    )
    for about in files:
        made.add_row(
            about["path"], str(about["rows"]), output.size(about["file_size_bytes"]), about["fingerprint"][:20]
        )
    call.show(
        {"path": str(source.path), "files": files, "columns": columns, "report": report.as_dict()},
        made,
        *report.lines(),
        f"columns: {', '.join(f'{name} {kind}' for name, kind in columns.items())}",
        f"ask for it with fstore.ParquetSource({str(written[0] if len(written) == 1 else source.path)!r})",
    )
    return errors.OK


def _list_presets(call: Call) -> int:
    known = output.table("preset", "what it is for")
    for preset in PRESETS.values():
        known.add_row(preset.name, preset.about)
    call.show({"presets": [{"name": preset.name, "about": preset.about} for preset in PRESETS.values()]}, known)
    return errors.OK
