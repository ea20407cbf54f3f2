"""A day in a notebook, run as Jupyter runs it: connect, ask, edit a function and ask again, read an error, see a progress bar."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import REPOSITORY, House

nbclient = pytest.importorskip("nbclient", reason="nbclient is an extra of developers")
nbformat = pytest.importorskip("nbformat")

pytestmark = pytest.mark.slow

CELLS = {
    "connect": """
import pandas as pd, fstore
store = fstore.connect()
raw = pd.DataFrame({"x": [1.0, 2.0, 4.0]}, index=pd.date_range("2024-01-02", periods=3, freq="min", tz="UTC"))
store
""",
    "worker": """
from tests import sample_features
store.get_or_compute("S", raw, {"factor": 3}, sample_features.scaled)
""",
    "define": """
def spread(raw, config):
    return (raw["x"] * 2).rename("spread")
feature = fstore.local(spread)
""",
    "ask": 'store.get_or_compute("S", raw, {}, feature)',
    "edit": """
def spread(raw, config):
    return (raw["x"] * 5).rename("spread")
feature = fstore.local(spread)
store.get_or_compute("S", raw, {}, feature)
""",
    "polars": 'store.get_or_compute("S", raw, {"factor": 3}, sample_features.scaled, returns="polars")',
    "many": """
told = []
asked = [fstore.Request("S", raw, {"factor": n}, sample_features.scaled) for n in range(3, 9)]
for _, frame in store.get_or_compute_many(asked, progress=told.append):
    pass
str(told[-1])
""",
    "explain": 'print(store.explain("S", raw, {"factor": 3}, sample_features.scaled))',
    "explained": 'store.explain("S", raw, {"factor": 3}, sample_features.scaled)',
    "entry": 'store.peek("S", raw, {"factor": 3}, sample_features.scaled)',
    "submit": """
ticket = store.submit("S", raw, {"factor": 9}, sample_features.scaled)
ticket.result(60)
ticket
""",
    "plain function": 'store.get_or_compute("S", raw, {}, lambda raw, config: raw)',
    "failure": 'store.get_or_compute("S", raw, {}, sample_features.failing)',
    "path": 'store.get_or_compute("S", "ticks.parquet", {}, sample_features.scaled)',
    "magics": "fstore.__version__, [name for name in dir(store) if not name.startswith('_')]",
}
FAILING = {"plain function", "failure", "path"}


@pytest.fixture
def ran(house: House, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What each cell came to, by the text that a person sees; errors by type, message and how long the traceback is."""
    house.start(concurrency=1)
    for name, value in house.child_environment().items():
        monkeypatch.setenv(name, value)
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(text.strip(), metadata={"tags": ["raises-exception"] if name in FAILING else []})
            for name, text in CELLS.items()
        ]
    )
    nbclient.NotebookClient(
        book, timeout=150, kernel_name="python3", resources={"metadata": {"path": str(REPOSITORY)}}
    ).execute()
    return dict(zip(CELLS, (cell.outputs for cell in book.cells), strict=True))


def test_a_notebook_runs_and_reads_well(ran: dict[str, Any]) -> None:
    """Frames as tables, short reprs, new numbers after an edit, errors that say what to do below few lines of traceback."""
    assert "FeatureStore(root=" in shown(ran["connect"])
    assert "12.0" in shown(ran["worker"])
    assert [line.split()[-1] for line in shown(ran["ask"]).splitlines()[:3]] == ["2.0", "4.0", "8.0"]
    assert [line.split()[-1] for line in shown(ran["edit"]).splitlines()[:3]] == ["5.0", "10.0", "20.0"]
    assert "Name: spread" in shown(ran["edit"])
    assert "shape: (3, " in shown(ran["polars"])
    assert "6 of 6: 1 hits, 5 computed, 0 failed" in shown(ran["many"])
    assert "hit" in shown(ran["explain"])
    assert shown(ran["explained"]).strip() == shown(ran["explain"]).strip()
    assert shown(ran["entry"]).startswith("Entry ")
    assert len(shown(ran["entry"])) < 300
    assert shown(ran["submit"]).startswith("Ticket(key=")
    assert "get_or_compute" in shown(ran["magics"])
    for name in FAILING:
        (error,) = [output for output in ran[name] if output.output_type == "error"]
        assert "/fstore/client/" not in "".join(error.traceback), name
        assert len("\n".join(error.traceback).splitlines()) < 60, name
    said = {name: next(o for o in ran[name] if o.output_type == "error") for name in FAILING}
    assert (said["plain function"].ename, "fstore.local" in said["plain function"].evalue) == (
        "FeatureNotRegistered",
        True,
    )
    assert (said["failure"].ename, "no price in row 17" in said["failure"].evalue) == ("ComputeFailed", True)
    assert "fstore.ParquetSource('ticks.parquet')" in said["path"].evalue


def shown(outputs: list[Any]) -> str:
    """Return what a cell shows as plain text."""
    return "\n".join(
        o.get("text") or o.get("data", {}).get("text/plain", "") for o in outputs if o.output_type != "error"
    )
