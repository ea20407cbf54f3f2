"""``fstore check-feature``: is a feature what it declares, and how far does it look. Needs no server."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from fstore.cli import errors
from fstore.cli.context import Call, common, pass_call
from fstore.cli.requests import config_of, source_of
from fstore.features import PERIODS, Partitioning, checked_partitioning, partitions, sessions
from fstore.increments import CheckedFeature, checked_feature

_PARTITIONS = re.compile(r"\s*(\d+)\s*partitions?\s*", re.ASCII)


class ReachParam(click.ParamType):  # type: ignore[type-arg]  # not generic where it runs
    """Rows (``20``), time (``30min``) or partitions (``"1 partition"``)."""

    name = "reach"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return what a declaration takes; whether it is a reach, the declaration tells."""
        if isinstance(value, str):
            if found := _PARTITIONS.fullmatch(value):
                return partitions(int(found[1]))
            if value.strip().isdecimal():
                return int(value)
        return value


@click.command("check-feature", epilog=errors.codes(errors.REFUSED, errors.WRONG, wrong="the declaration is wrong"))
@click.argument("feature", metavar="MODULE:FUNCTION")
@click.option(
    "--data",
    required=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Raw data: a Parquet file or a folder of them; the longer the better.",
)
@click.option("--config", "config_text", default="{}", show_default=True, metavar="JSON", help="The feature's config.")
@click.option(
    "--partition", type=click.Choice(PERIODS), help="Cut by this period instead of what the feature declares."
)
@click.option("--start", metavar="HH:MM", help="With --partition: when each period starts.  [default: 00:00]")
@click.option("--tz", metavar="ZONE", help="With --partition: by the clock of this zone.  [default: that of the data]")
@click.option(
    "--lookback", type=ReachParam(), help="With --partition: rows (20), time (30min) or '1 partition'.  [default: 0]"
)
@click.option("--lookahead", type=ReachParam(), help="With --partition: the same to the other side.  [default: 0]")
@click.option("--time", metavar="COLUMN", help="With --partition: the column of times, for features that take tables.")
@click.option("--suggest", is_flag=True, help="Find the shortest reach that will do, and the error of shorter ones.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=1e-6,
    show_default=True,
    help="The largest difference that is none, in units of a column's range.",
)
@click.option("--no-costs", is_flag=True, help="Do not measure whether partitions pay.")
@common(file_option=("-c", "--settings"))
@pass_call
def command(
    call: Call,
    /,
    feature: str,
    data: Path,
    config_text: str,
    tolerance: float,
    *,
    suggest: bool,
    no_costs: bool,
    **declared: Any,
) -> int:
    """Find out on real data whether a feature may be computed by partitions as it declares.

    Calls the function for a few partitions with windows as declared and wider ones, with
    rows outside of them changed and values missing at their edges. With --partition any
    function of raw data and config can be looked at, also one that is no feature yet;
    with --suggest its reach need not be known. The file with fstore's own settings is
    given by -c here, as --config is the feature's.
    """
    raw = source_of(str(data))
    found = checked_feature(feature)
    checked = replace(found, declared=_declared(feature, found, **declared))
    report = checked.check(
        raw,
        config_of(config_text),
        tolerance=tolerance,
        suggest=suggest,
        costs=not no_costs,
    )
    call.show({"feature": feature, **report.as_json()}, f"{feature}: {report}")
    return errors.OK if report.is_right else errors.WRONG


def _declared(
    name: str, found: CheckedFeature, *, partition: str | None, start: str | None, tz: str | None, **reach: Any
) -> Partitioning:
    given = {option: value for option, value in reach.items() if value is not None}
    if partition is None:
        if wrong := [*given, *(option for option, value in (("start", start), ("tz", tz)) if value is not None)]:
            raise click.UsageError(f"--{wrong[0]} means nothing without --partition")
        if found.declared is None:
            raise click.UsageError(f"{name} declares no partition=; give one here, for example --partition day")
        return found.declared
    cut = sessions(partition, start=start or "00:00", tz=tz)
    made = checked_partitioning(name, cut, **given, input=found.kind)
    if made is None:  # a partition was given
        raise AssertionError(partition)
    return made
