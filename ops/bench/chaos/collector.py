"""Collects garbage every few seconds, in a process of its own that may be killed at any step."""

from __future__ import annotations

import time
from collections.abc import Mapping

from chaos.history import Journal
from chaos.trainer import become
from fstore import FeatureStoreError, bootstrap
from fstore.resources import Resources
from fstore.upkeep import collect_garbage

PERIOD_S = 5.0


def run(environment: Mapping[str, str], life: int) -> None:
    """Collect garbage until killed."""
    journal = become(environment, f"collector.{life}")
    resources = bootstrap.open_resources(bootstrap.load_settings(), role="collector")
    while True:
        began = time.monotonic()
        collect(resources, journal)
        time.sleep(max(0.1, PERIOD_S - (time.monotonic() - began)))


def collect(resources: Resources, journal: Journal) -> None:
    """Do one run, as a schedule or a command would, and record what came of it."""
    try:
        report = collect_garbage(resources)
        journal.write(phase="collected", summary=report["summary"], skipped=report.get("skipped"))
    except FeatureStoreError as error:
        journal.write(phase="not collected", error=type(error).__name__, text=str(error)[:300])
