"""``fstore logs``: what the processes of the local stack wrote."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from fstore.cli import errors
from fstore.cli.context import Call, common, pass_call
from fstore.errors import InvalidRequest
from fstore.stack import log_files

LOOK_EVERY_S = 0.25
BLOCK = 64 * 1024


@click.command("logs", epilog=errors.codes(errors.REFUSED))
@click.argument("names", nargs=-1, metavar="[PROCESS]...")
@click.option("-f", "--follow", is_flag=True, help="Go on showing what is written, until Ctrl-C.")
@click.option(
    "-n", "--lines", type=click.IntRange(0, 1_000_000), default=20, show_default=True, help="How many of each."
)
@common()
@pass_call
def command(call: Call, names: tuple[str, ...], follow: bool, lines: int) -> int:
    """Show the end of the logs of the local stack, and what prints in features wrote.

    PROCESS is one that 'fstore status' names, or supervisor. A stack that was
    stopped keeps its logs. JSON has a list of lines for each.
    """
    root = call.settings().stack_folder
    known = log_files(root)
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        there = f"there are {', '.join(known)}" if known else f"no stack ever ran on {root}"
        raise InvalidRequest("process", f"no log of {', '.join(unknown) or 'anything'}: {there}")
    chosen = {name: path for name, path in known.items() if not names or name in names}
    shown = {name: last_lines(path, lines) for name, path in chosen.items()}
    if call.as_json:
        call.show({"logs": {name: found for name, (found, _) in shown.items()}})
        return errors.OK
    for name, (found, _) in shown.items():
        _print(name, found, named=len(chosen) > 1)
    if follow:
        _follow(chosen, {name: end for name, (_, end) in shown.items()})
    return errors.OK


def last_lines(path: Path, most: int) -> tuple[list[str], int]:
    """Return the last lines of a file and where they end; it is read from its end, however long it is."""
    with path.open("rb") as file:
        end = begin = file.seek(0, 2)
        tail = b""
        while begin > 0 and tail.count(b"\n") <= most:
            begin = max(0, begin - BLOCK)
            file.seek(begin)
            tail = file.read(end - begin)
    lines = tail.decode(errors="replace").splitlines()
    return (lines[-most:] if most else []), end


def _follow(paths: dict[str, Path], ends: dict[str, int]) -> None:
    """Print what is added; a log that was cut or begun anew is read from its start."""
    while True:
        for name, path in paths.items():
            size = path.stat().st_size if path.exists() else 0
            if size < ends[name]:
                ends[name] = 0
            if size > ends[name]:
                with path.open("rb") as file:
                    file.seek(ends[name])
                    added = file.read(size - ends[name])
                whole = added[: added.rfind(b"\n") + 1]  # the rest of a line comes with the next look
                ends[name] += len(whole)
                _print(name, whole.decode(errors="replace").splitlines(), named=len(paths) > 1)
        time.sleep(LOOK_EVERY_S)


def _print(name: str, lines: list[str], *, named: bool) -> None:
    for line in lines:
        sys.stdout.write(f"{name}: {line}\n" if named else f"{line}\n")
    sys.stdout.flush()
