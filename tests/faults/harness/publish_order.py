"""Reads off a trace of system calls whether files were durable before their rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from tests.faults.harness.strace import Call

_QUOTED = re.compile(r'"([^"]*)"')
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
_OFFERED = re.compile(
    r'path[\\"]+: [\\"]+(entries/[0-9a-f]{2}/[0-9a-f]{64}\.\w+\.parquet)'
)  # as JSON, as strace quotes it


def assert_durable_before_row(calls: Sequence[Call]) -> None:
    """Check that each file was synced, renamed and its folder synced, all with success, before any server heard its name.

    A folder that was made on the way must have been synced in its own folder too.
    """
    synced: set[str] = set()
    renamed: set[str] = set()
    made: set[str] = set()
    for call in calls:
        if call.name == "sendto":
            for offered in set(_OFFERED.findall(call.arguments)):
                found = [path for path in renamed if path.endswith(offered)]
                assert found, f"{offered} was offered before it had its name"
                folder = str(PurePath(found[0]).parent)
                assert folder in synced, f"{offered} was offered before its folder was synced"
                assert folder not in made or str(PurePath(folder).parent) in synced, (
                    f"{offered} was offered before its new folder was synced where it lies"
                )
        elif not call.went_well:
            continue
        elif call.name in {"fsync", "fdatasync"}:
            synced.update(_DESCRIPTOR.findall(call.arguments))
        elif call.name == "rename":
            old, new = _QUOTED.findall(call.arguments)
            assert old in synced, f"{old} was renamed before it was synced"
            renamed.add(new)
            synced.discard(str(PurePath(new).parent))  # must be synced after the rename
        elif call.name == "mkdir":
            (path,) = _QUOTED.findall(call.arguments)
            made.add(path)
            synced.discard(str(PurePath(path).parent))


def offered(calls: Sequence[Call]) -> set[str]:
    """Return the files whose names were sent to a server."""
    return {path for call in calls if call.name == "sendto" for path in _OFFERED.findall(call.arguments)}


def opened_for_writing(calls: Sequence[Call]) -> list[str]:
    """Return the files that were made below ``entries``, in order."""
    made = [call.arguments for call in calls if call.name == "openat" and "O_CREAT" in call.arguments]
    return [path for arguments in made for path in _QUOTED.findall(arguments) if "/entries/" in path]
