"""What commands print: tables for people, JSON for machines, progress on a terminal only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

WIDTH_OF_A_PIPE = 160  # nobody folds lines for a file

Tell = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is; 0 when nobody knows."""

size = decimal
"""Write a number of bytes for people: 999 bytes, 1.5 kB."""


def stdout() -> Console:
    """Return the console for results; symbols and paths are printed as they are, never read as markup."""
    return _console(stderr=False)


def stderr() -> Console:
    """Return the console for messages and progress."""
    return _console(stderr=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, default=_plain) + "\n")
    sys.stdout.flush()


def table(*columns: str, right: Iterable[str] = (), title: str | None = None) -> Table:
    """Make an empty table; columns named in ``right`` hold numbers."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in set(right) else "left", overflow="fold")
    return made


def facts(rows: Iterable[tuple[str, object]], *, title: str | None = None) -> Table:
    """Make a table of names and values."""
    made = Table(box=None, show_header=False, title=title, title_justify="left", pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value if isinstance(value, Text) else "-" if value is None else str(value))
    return made


def number_of(n: int, one: str, many: str) -> str:
    """Write how many there are of something."""
    return f"{n} {one if n == 1 else many}"


def moment(ts: datetime | None) -> str:
    """Write a time for people: UTC, to the second."""
    return "-" if ts is None else ts.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextmanager
def progress(*, quiet: bool = False, console: Console | None = None) -> Iterator[Tell]:
    """Show a bar on stderr while the block runs, if that is a terminal; gives the function that moves it.

    Whoever prints meanwhile has to do so on the same ``console``.
    """
    console = console or stderr()
    if quiet or not console.is_terminal:
        yield lambda what, done, total: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bars:
        shown: dict[str, TaskID] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in shown:
                for earlier in shown.values():
                    bars.remove_task(earlier)
                shown.clear()
                shown[what] = bars.add_task(what, total=total or None)
            bars.update(shown[what], completed=done, total=total or None)

        yield tell


def listed(items: Sequence[str], *, most: int = 5) -> str:
    """Write the first few of some names and how many more there are."""
    shown = ", ".join(items[:most])
    return f"{shown} and {len(items) - most} more" if len(items) > most else shown


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDTH_OF_A_PIPE
    return Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
