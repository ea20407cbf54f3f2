"""Tables that fit a terminal: keys stay whole.

Other columns are shortened or left out, the least telling first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

GAP = 2
ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Column:
    """One column, and what may become of it where there is little room.

    ``least``: shortened to so many characters, with an ellipsis; None: never.
    ``leave``: left out, those with the highest number first; 0: never.
    ``wraps``: its text goes on in further lines instead.
    """

    name: str
    right: bool = False
    least: int | None = None
    leave: int = 0
    wraps: bool = False


@dataclass(slots=True)
class Table:
    """Rows below names; without a terminal, or with ``wide``, nothing is shortened or left out."""

    columns: Sequence[Column]
    title: str | None = None
    wide: bool = False
    rows: list[tuple[list[str], str | None]] = field(default_factory=list)

    def add_row(self, *cells: object, style: str | None = None) -> None:
        """Add a row; a cell that is None is shown as a dash."""
        self.rows.append((["-" if cell is None else str(cell) for cell in cells], style))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        room = None if self.wide or not console.is_terminal else options.max_width
        kept, widths = fit([(c, self._natural(at)) for at, c in enumerate(self.columns)], room)
        if self.title is not None:
            yield Text(self.title, style="italic")
        yield _line([self.columns[at].name for at in kept], [self.columns[at] for at in kept], widths, "bold")
        yield Text("─" * (sum(widths) + GAP * (len(widths) - 1)), no_wrap=True, overflow="ignore", style="dim")
        for cells, style in self.rows:
            for line in _lines(console, [cells[at] for at in kept], [self.columns[at] for at in kept], widths):
                yield _line(line, [self.columns[at] for at in kept], widths, style)
        if len(kept) < len(self.columns):
            absent = ", ".join(c.name for at, c in enumerate(self.columns) if at not in kept)
            yield Text(f"no room for: {absent}; --wide shows all", style="dim")

    def _natural(self, at: int) -> int:
        lines = [line for cells, _ in self.rows for line in cells[at].splitlines()]
        return max((cell_len(text) for text in (self.columns[at].name, *lines)), default=0)


def fit(columns: Sequence[tuple[Column, int]], room: int | None) -> tuple[list[int], list[int]]:
    """Decide which columns are shown and how wide; each comes with the width that its text needs."""
    kept = list(range(len(columns)))
    if room is None:
        return kept, [width for _, width in columns]

    def least(at: int) -> int:
        column, width = columns[at]
        return width if column.least is None else min(width, max(column.least, cell_len(column.name)))

    def missing(widths: Iterable[int]) -> int:
        return sum(widths) + GAP * (len(kept) - 1) - room

    while missing(map(least, kept)) > 0 and any(columns[at][0].leave for at in kept):
        kept.remove(max(kept, key=lambda at: columns[at][0].leave))
    widths = [columns[at][1] for at in kept]
    while (over := missing(widths)) > 0:
        spare = [width - least(at) for at, width in zip(kept, widths, strict=True)]
        if not any(spare):
            break
        widest = max((n for n, left in enumerate(spare) if left), key=lambda n: widths[n])
        widths[widest] -= min(over, spare[widest], max(1, widths[widest] // 8))
    return kept, widths


def facts(rows: Iterable[tuple[str, object]], *, title: str | None = None) -> Facts:
    """Make a list of names and values."""
    return Facts([(name, "-" if value is None else str(value)) for name, value in rows], title)


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, one a line; a long value runs on, so that it can be copied in one piece."""

    rows: Sequence[tuple[str, str]]
    title: str | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title is not None:
            yield Text(self.title, style="italic")
        names = max((cell_len(name) for name, _ in self.rows), default=0)
        for name, value in self.rows:
            first, *rest = value.splitlines() or [""]
            line = Text.assemble((set_cell_size(name, names), "bold"), " " * GAP, first)
            yield _running_on(line)
            for more in rest:
                yield _running_on(Text(" " * (names + GAP) + more))


def _lines(console: Console, cells: list[str], columns: list[Column], widths: list[int]) -> Iterator[list[str]]:
    """Yield the lines of one row: more than one where text goes on."""
    parts = [
        [line.plain for line in Text(cell).wrap(console, max(width, 1))] if column.wraps and cell else cell.splitlines()
        for cell, column, width in zip(cells, columns, widths, strict=True)
    ]
    for number in range(max((len(part) for part in parts), default=0) or 1):
        yield [part[number] if number < len(part) else "" for part in parts]


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int], style: str | None) -> Text:
    shown = []
    for cell, column, width in zip(cells, columns, widths, strict=True):
        text = cell if cell_len(cell) <= width else set_cell_size(cell, max(width - 1, 0)) + ELLIPSIS
        blank = " " * (width - cell_len(text))
        shown.append(blank + text if column.right else text + blank)
    return _running_on(Text((" " * GAP).join(shown).rstrip(), style=style or ""))


def _running_on(line: Text) -> Text:
    line.no_wrap, line.overflow = True, "ignore"
    return line
