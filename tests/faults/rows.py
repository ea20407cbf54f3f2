"""The rows of the fault matrix: what each test says about itself, and which tools it needs.

The matrix is what the tests say: a new row is a test marked ``@row`` with the next number, and its line
in docs/faults.md, which ``python -m tests.faults --document`` writes.
"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests import pooler

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "faults.md"
TABLE = ("<!-- rows: written by python -m tests.faults --document -->\n", "<!-- end of rows -->\n")

F = TypeVar("F", bound=Callable[..., Any])


def row(number: int, *, fault: str, promise: str, needs: tuple[str, ...] = (), seconds: float = 15) -> Callable[[F], F]:
    """Mark a test as a row of the matrix.

    ``needs`` names tools (see ``missing_tool``); ``seconds`` is about how long it
    takes, so that long rows start first. Several tests may share a number.
    """

    def mark(function: F) -> F:
        about = pytest.mark.row(number, fault=fault, promise=promise, needs=needs, seconds=seconds)
        return pytest.mark.faults(about(function))

    return mark


@dataclass(frozen=True)
class Marked:
    """What one test says about itself; several tests may share a number."""

    number: int
    fault: str
    promise: str
    file: str


def marked() -> list[Marked]:
    """Read the marks of all tests, by number; nothing is imported, so that the page can be made anywhere."""
    found = []
    for file in sorted(HERE.rglob("test_*.py")):
        tree = ast.parse(file.read_text())
        numbers = dict(pair for node in tree.body if isinstance(node, ast.Assign) for pair in _constants(node))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "row":
                said = {word.arg: word.value for word in node.keywords}
                number = ast.literal_eval(node.args[0])
                fault, promise = _text(said["fault"], numbers), _text(said["promise"], numbers)
                found.append(Marked(number, fault, promise, file.name))
    return sorted(found, key=lambda one: one.number)


def _constants(node: ast.Assign) -> Iterable[tuple[str, object]]:
    """Give the names of a file's constants with their values."""
    for target in node.targets:
        pairs = (
            zip(target.elts, node.value.elts, strict=False)
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
            else [(target, node.value)]
        )
        for name, value in pairs:
            if isinstance(name, ast.Name) and isinstance(value, ast.Constant):
                yield name.id, value.value


def _text(node: ast.expr, numbers: dict[str, object]) -> str:
    """Return a text, in which constants of its file may stand."""
    if not isinstance(node, ast.JoinedStr):
        return str(ast.literal_eval(node))
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else str(numbers[ast.unparse(part.value)])  # type: ignore[attr-defined]
        for part in node.values
    )


def matrix() -> set[int]:
    """Return the numbers of all rows."""
    return {one.number for one in marked()}


def document(page: str) -> str:
    """Return the page with the table of rows as the tests have it."""
    rows: dict[int, list[Marked]] = {}
    for one in marked():
        rows.setdefault(one.number, []).append(one)
    lines = ["| row | fault | promised | test |", "|---|---|---|---|"]
    for number, tests in rows.items():
        cells = (
            " / ".join(dict.fromkeys(getattr(one, part) for one in tests)) for part in ("fault", "promise", "file")
        )
        lines.append(f"| {number} | {' | '.join(cells)} |")
    head, _, rest = page.partition(TABLE[0])
    _, _, tail = rest.partition(TABLE[1])
    return "".join([head, TABLE[0], "\n", "\n".join(lines), "\n\n", TABLE[1], tail])


def demand(tools: Iterable[str]) -> None:
    """Skip the test that calls this where a tool is absent, with the reason; on CI, where they must be there, fail it."""
    absent = [reason for tool in tools if (reason := missing_tool(tool))]
    if absent and os.environ.get("CI", "").lower() == "true":
        pytest.fail(f"the row's tools must be there on CI: {'; '.join(absent)}")
    if absent:
        pytest.skip("; ".join(absent))


@cache
def missing_tool(name: str) -> str | None:
    """Return why a tool cannot be used here, or None: a program on PATH, or one of the probes below."""
    if name in PROBES:
        return PROBES[name]()
    return None if shutil.which(name) else f"{name} is not on PATH"


def _not_root() -> str | None:
    return None if os.geteuid() == 0 else "needs root"


def _no_mount() -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        command = ["mount", "-t", "tmpfs", "-o", "size=64k", "fstore-test", folder]
        if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
            return "mounting a file system takes root"
        subprocess.run(["umount", "-l", folder], check=False)
    return None


def _no_network_namespace() -> str | None:
    if shutil.which("unshare") is None:
        return "unshare is not on PATH"
    done = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return None if done.returncode == 0 else "making a network namespace takes root"


def _no_bridge() -> str | None:
    if shutil.which("ip") is None:
        return "ip is not on PATH"
    command = ["unshare", "--net", "ip", "link", "add", "probe", "type", "bridge"]
    if _no_network_namespace() or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        return "joining network namespaces by a bridge takes root, and a kernel that has bridges"
    return None


def _no_tracing() -> str | None:
    if shutil.which("strace") is None:
        return "strace is not on PATH"
    done = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], check=False, capture_output=True)
    return None if done.returncode == 0 else "strace may not trace here"


def _no_memory_cgroup() -> str | None:
    return None if memory_cgroups() else "no writable memory cgroup"


def memory_cgroups() -> Path | None:
    """Return the folder in which memory cgroups (v1 or v2) can be made, or None."""
    root = Path("/sys/fs/cgroup")
    if os.access(root / "memory/cgroup.procs", os.W_OK):
        return root / "memory"
    try:
        if "memory" in (root / "cgroup.subtree_control").read_text().split() and os.access(root, os.W_OK):
            return root
    except OSError:
        return None
    return None


PROBES: dict[str, Callable[[], str | None]] = {
    "pgbouncer": pooler.absent,
    "root": _not_root,
    "mount": _no_mount,
    "netns": _no_network_namespace,
    "bridge": _no_bridge,
    "tracing": _no_tracing,
    "memory cgroup": _no_memory_cgroup,
}
