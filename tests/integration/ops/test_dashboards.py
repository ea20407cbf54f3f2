"""Dashboard, alerts and runbooks against the metrics that are served."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fstore.reporting.prometheus import StoreCollector
from fstore.runtime.timings import TIMINGS
from fstore.upkeep import api as upkeep
from tests.conftest import REPOSITORY, House

OPS = REPOSITORY / "ops"


def served_names(house: House) -> set[str]:
    """Return the names of all samples that the exporter serves."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(house.store.resources))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {sample.name for family in families for sample in family.samples}


def expressions() -> Iterator[tuple[str, str]]:
    """Give every query of the dashboard and the alerts with its place."""
    dashboard = json.loads((OPS / "grafana" / "dashboards" / "fstore.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
    for rule in alerts():
        yield f"alert {rule['alert']}", rule["expr"]


def alerts() -> list[dict[str, str]]:
    """Read the alert rules."""
    rules = yaml.safe_load((OPS / "prometheus" / "alerts.yml").read_text())
    return [rule for group in rules["groups"] for rule in group["rules"]]


def test_dashboard_and_alerts_name_existing_metrics(house: House) -> None:
    """Every metric that a panel or an alert asks for is served, and every family that is served is shown somewhere."""
    for kind in ("flush_usage", "reconcile_jobs", "collect_garbage", "sweep_integrity"):
        getattr(upkeep, kind)(house.store.resources)
    served = served_names(house)
    asked = {(place, name) for place, text in expressions() for name in re.findall(r"\bfstore_\w+", text)}

    # Families by feature have no sample in an empty store.
    served |= {"fstore_feature_bytes", "fstore_feature_entries"}
    assert {(place, name) for place, name in asked if name not in served} == set()
    timed = {f"fstore_{name}_bucket" for name in TIMINGS}
    assert timed <= {name for _, name in asked}


def test_every_alert_has_a_page_and_every_page_an_alert() -> None:
    """Alerts name runbook pages that exist; pages link only to pages that exist."""
    pages = {path.name for path in (OPS / "runbooks").glob("*.md")}
    named = {Path(rule["annotations"]["runbook"]).name for rule in alerts()}  # type: ignore[index]
    linked = {
        link for path in (OPS / "runbooks").glob("*.md") for link in re.findall(r"\]\(([\w-]+\.md)\)", path.read_text())
    }

    assert named <= pages
    assert linked <= pages
    assert pages == named | linked


@pytest.mark.skipif(shutil.which("promtool") is None, reason="Prometheus is not installed here")
def test_prometheus_takes_the_queries(tmp_path: Path) -> None:
    """Prometheus' own checker finds no fault in the alert rules, nor in any query of the dashboard."""
    queries = [text.replace("$__rate_interval", "5m") for place, text in expressions() if place.startswith("panel")]
    rules = [{"record": f"query_{n}", "expr": text} for n, text in enumerate(queries)]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(OPS / "prometheus" / "alerts.yml"), str(tmp_path / "queries.yml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
