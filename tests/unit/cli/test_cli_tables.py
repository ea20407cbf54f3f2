"""Tables fit the terminal they are shown on; keys stay whole."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from fstore.cli.tables import Column, Table, facts, fit

KEY = "f7bd5eb7261b"
COLUMNS = (
    Column("key"),
    Column("symbol", least=8),
    Column("feature", least=16),
    Column("config", least=10, leave=1),
    Column("rows", right=True, leave=2),
    Column("created (UTC)", leave=3),
)


def render(table: object, width: int, *, terminal: bool = True) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=terminal, color_system=None, legacy_windows=False).print(
        table, crop=False
    )
    return out.getvalue().splitlines()


def listing(*, wide: bool = False) -> Table:
    made = Table(COLUMNS, wide=wide)
    made.add_row(KEY, "BRK.B", "research.alphas.intraday:volume_clock_imbalance", '{"window": 20, "side": "bid"}', 390_000, "2026-01-05 21:00:00")  # fmt: skip
    made.add_row("0" * 12, "日経225先物", "m:f", "{}", 1, "2026-01-05 21:00:01")
    return made


@pytest.mark.parametrize("width", [200, 120, 80, 60, 40])
def test_no_line_is_longer_than_the_terminal_and_no_key_is_broken(width: int) -> None:
    """At every usual width each row is one line, with the whole key on it."""
    lines = render(listing(), width)

    assert max(map(cell_len, lines[:4])) <= width
    assert [line.startswith(key) for line, key in zip(lines[2:4], (KEY, "0" * 12), strict=True)] == [True, True]


def test_columns_are_left_out_by_priority_and_that_is_said() -> None:
    """What goes first is what tells least; the last line names it and the way to see it."""
    *_, note = render(listing(), 52)

    assert note == "no room for: rows, created (UTC); --wide shows all"


def test_shortened_cells_end_with_an_ellipsis() -> None:
    """A feature's name that was cut shows that it was."""
    assert "…" in render(listing(), 60)[2]
    assert "…" not in "".join(render(listing(), 200))


@pytest.mark.parametrize(("width", "terminal", "wide"), [(80, False, False), (40, True, True)])
def test_pipes_and_wide_tables_show_everything(width: int, terminal: bool, wide: bool) -> None:
    """Where nobody folds lines, and where the user says so, nothing is shortened, folded or padded at the end."""
    lines = render(listing(wide=wide), width, terminal=terminal)

    assert len(lines) == 4
    assert "research.alphas.intraday:volume_clock_imbalance" in lines[2]
    assert lines[2].endswith("2026-01-05 21:00:00")
    assert all(line == line.rstrip() for line in lines)


def test_long_text_goes_on_in_further_lines_where_a_column_says_so() -> None:
    """Advice is read, not copied: it is folded by words below its column."""
    table = Table((Column("check"), Column("found", least=20, wraps=True)))
    table.add_row("redis", "maxmemory 100, policy allkeys-lru: locks and task messages may be evicted\n-> CONFIG SET x")

    lines = render(table, 40)

    assert max(map(cell_len, lines)) <= 40
    assert "".join(line[7:] for line in lines[2:]).replace(" ", "").endswith("evicted->CONFIGSETx")


def test_values_of_facts_run_on_in_one_piece() -> None:
    """A path can be copied whole, however narrow the terminal; further lines of a value stand below the first."""
    path = "/srv/store/" + "x" * 90
    assert render(facts([("log", path), ("text", "one\ntwo"), ("none", None)], title="about"), 40) == [
        "about", f"log   {path}", "text  one", "      two", "none  -",
    ]  # fmt: skip


def test_fitting_never_widens_and_stops_where_nothing_can_give_way() -> None:
    """Too little room even for the keys: they are shown all the same."""
    kept, widths = fit([(Column("key"), 12), (Column("state", leave=1), 9), (Column("symbol", least=4), 20)], 10)

    assert (kept, widths) == ([0, 2], [12, 6])
