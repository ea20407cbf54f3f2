"""``fstore features``: what can be asked for."""

from __future__ import annotations

import inspect
from typing import Any

import click

from fstore.bootstrap import open_resources
from fstore.cli import errors, output
from fstore.cli.context import Call, common, pass_call
from fstore.errors import BrokerUnavailable, ConfigurationError, ManifestUnavailable, StoreMismatch
from fstore.features import Feature, load_feature_modules
from fstore.settings import Settings


@click.command("features", epilog=errors.codes())
@common()
@pass_call
def command(call: Call) -> int:
    """List the features that can be asked for, with their versions and what the store has of them.

    They are those of FEATURE_STORE_FEATURE_MODULES, as this process imports them.
    Without servers, entries and times are left open.
    """
    settings = call.settings()
    features = load_feature_modules(settings.feature_modules)
    held = _held(settings, tuple(features))
    rows = [_row(feature, held) for feature in features.values()]
    made = output.table(
        output.Column("feature", least=24),
        output.Column("version", least=8),
        output.Column("input", leave=3),
        output.Column("entries", right=True, leave=1),
        output.Column("median", right=True, leave=2),
        output.Column("what it is", least=16, leave=4),
    )
    for row in rows:
        median = None if row["median_s"] is None else f"{row['median_s']:.3g} s"
        made.add_row(row["name"], row["version"], row["input"], row["entries"], median, row["doc"])
    note = [] if held is not None else ["the store does not answer: entries and times are not known"]
    call.show({"features": rows}, made, *note)
    return errors.OK


def _row(feature: Feature, held: dict[str, tuple[int, float | None]] | None) -> dict[str, Any]:
    entries, median_s = (None, None) if held is None else held[feature.name]
    return {
        "name": feature.name,
        "version": feature.version,
        "explicit": feature.explicit,
        "input": feature.input,
        "entries": entries,
        "median_s": median_s,
        "doc": (inspect.getdoc(feature.func) or "").partition("\n")[0],
    }


def _held(settings: Settings, names: tuple[str, ...]) -> dict[str, tuple[int, float | None]] | None:
    """Return entries and usual seconds of each feature, or None when no store answers."""
    try:
        resources = open_resources(settings, role="cli")
    except ConfigurationError:
        return None
    try:
        totals = resources.manifest.totals_by("feature")
        return {name: (totals.get(name, (0, 0))[0], resources.manifest.expected_seconds(name)) for name in names}
    except (ManifestUnavailable, BrokerUnavailable, StoreMismatch, ConfigurationError):
        return None
    finally:
        resources.close()
