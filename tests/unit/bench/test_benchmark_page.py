"""The page about the benchmarks says what was measured, misses and losses included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness.figures import Figure, interleaved
from page import plots
from page.command import with_before
from page.render import render

DOCS = Path(__file__).parents[3] / "docs"
TIMES = {
    "fstore": 5.0,
    "fstore, local tier": 3.0,
    "read_table": 4.0,
    "pandas.read_parquet": 6.0,
    "joblib.Memory": 8.0,
    "diskcache": 1.0,
}


def page_of(*figures: Figure, quick: bool = False, **times: dict[str, float]) -> str:
    """Render a page for a run of one benchmark."""
    bench = {"figures": [figure.as_dict() for figure in figures], "measured": times, "taken": "2026-01-02"}
    machine: dict[str, Any] = {"cores": 2, "memory_gib": 8, "system": "Linux", "python": "3.11", "versions": {}}
    return render({"quick": quick, "machine": machine, "servers": {}, "benches": {"hits": bench}})


def test_a_missed_figure_is_named_at_the_top_and_in_its_table() -> None:
    """Nobody has to search for what was not kept."""
    page = page_of(Figure("hit / peer", 1.6, 1.5), Figure("hit / other", 0.5, 1.5), Figure("shown only", 9.0))

    assert "1 of 2 promised figures were kept in this run; missed:" in page
    assert "- Hits: hit / peer: 1.6, promised at most 1.5" in page
    assert "| hit / peer | 1.6 | at most 1.5 | **missed** |" in page
    assert "| hit / other | 0.5 | at most 1.5 | yes |" in page
    assert "| shown only | 9 |  |  |" in page


def test_every_quicker_peer_is_listed_where_fstore_loses() -> None:
    """Losses come from the numbers, not from what somebody chose to write."""
    page = page_of(**{"390 x 50": TIMES})

    assert "- a hit of 390 x 50 by fstore, 5 ms: quicker were diskcache 5 times, read_table 1.25 times" in page
    assert "- a hit of 390 x 50 by fstore, local tier, 3 ms: quicker were diskcache 3 times" in page


def test_a_trial_says_that_it_is_no_evidence() -> None:
    """Numbers of ``--quick`` are not mistaken for figures."""
    assert page_of(quick=True).startswith("> **A quick trial, not evidence**")
    assert "not evidence**" not in page_of()


def test_a_floor_and_a_ceiling_are_judged_in_their_own_sense() -> None:
    """At most and at least are kept by the limit itself and missed beyond it."""
    assert [Figure("f", value, 2.0).missed for value in (1.9, 2.0, 2.1)] == [False, False, True]
    assert [Figure("f", value, 2.0, "at least").missed for value in (1.9, 2.0, 2.1)] == [True, False, False]


def test_ways_are_timed_in_turn_and_each_goes_first() -> None:
    """A noisy moment, or what the one before left in the caches, does not fall on one way alone."""
    called: list[str] = []

    interleaved({name: lambda name=name: called.append(name) for name in "abc"}, rounds=3, warm=0)

    assert "".join(called) == "abc" + "cab" + "bca"


def test_the_page_and_its_pictures_are_those_of_the_numbers_beside_it(tmp_path: Path) -> None:
    """Whatever a benchmark measures can be shown, and nobody wrote a number by hand."""
    found = json.loads((DOCS / "benchmarks.json").read_text())

    plots.draw_all(found["benches"], tmp_path)

    assert (DOCS / "benchmarks.md").read_text() == render(found)
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in (DOCS / "images").glob("bench-*"))


def test_what_an_older_version_took_outlives_the_next_run() -> None:
    """The table of a miss shows before and now, and the older one is not there to be measured again."""
    now = {"figures": [], "measured": {"steps": {"claim": 1.0}, "own before": 3}}
    earlier = {"figures": [], "measured": {"steps": {"claim": 2.0}, "steps before": {"claim": 4.0}, "own before": 2}}

    kept = with_before(now, earlier)

    assert kept["measured"] == {"steps": {"claim": 1.0}, "steps before": {"claim": 4.0}, "own before": 3}
    assert with_before(now, {}) == now
