"""What commands print: tables for people, JSON for machines, progress on a terminal only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.filesize import decimal

from fstore.cli.tables import Column, Table, facts

if TYPE_CHECKING:
    from rich.progress import TaskID

__all__ = [
    "Column",
    "ShowProgress",
    "facts",
    "listed",
    "moment",
    "number_of",
    "print_json",
    "progress",
    "say",
    "show",
    "size",
    "stderr",
    "stdout",
    "table",
]

WIDTH_OF_A_PIPE = 10_000  # nobody folds lines for a file

ShowProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is; 0 when nobody knows."""


def stdout() -> Console:
    """Return the console for results; symbols and paths are printed as they are, never read as markup."""
    return _console(stderr=False)


def stderr() -> Console:
    """Return the console for messages and progress."""
    return _console(stderr=True)


def show(*renderables: RenderableType, wide: bool = False) -> None:
    """Print what people read.

    A line that is longer than the terminal runs on instead of being cut or folded.
    """
    console = stdout()
    for renderable in renderables:
        if isinstance(renderable, Table):
            renderable.wide = wide
        console.print(renderable, soft_wrap=isinstance(renderable, str), crop=False)


def say(text: str, *, style: str | None = None) -> None:
    """Print a message on stderr, in one line however long."""
    stderr().print(text, style=style, soft_wrap=True)


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, default=_plain) + "\n")
    sys.stdout.flush()


def table(*columns: str | Column, right: Iterable[str] = (), title: str | None = None) -> Table:
    """Make an empty table; columns named in ``right`` hold numbers."""
    numbers = set(right)
    return Table([c if isinstance(c, Column) else Column(c, right=c in numbers) for c in columns], title)


def number_of(n: int, one: str, many: str) -> str:
    """Write how many there are of something."""
    return f"{n} {one if n == 1 else many}"


def size(size_bytes: float) -> str:
    """Write a number of bytes for people: 999 bytes, 1.5 kB."""
    return decimal(int(size_bytes))


def moment(ts: datetime | None) -> str:
    """Write a time for people: UTC, to the second."""
    return "-" if ts is None else ts.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextmanager
def progress(*, quiet: bool = False, console: Console | None = None) -> Iterator[ShowProgress]:
    """Show a bar on stderr while the block runs, if that is a terminal; gives the function that moves it.

    Whoever prints meanwhile has to do so on the same ``console``.
    """
    console = console or stderr()
    if quiet or not console.is_terminal:
        yield lambda what, done, total: None
        return
    from rich.progress import (  # noqa: PLC0415 most commands show no bar
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

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


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command what that means; rich would end the process with 1."""
        raise BrokenPipeError


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else WIDTH_OF_A_PIPE
    return _Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=width)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    return str(value)
