"""Proves the ranges of versions in pyproject: the lowest, the newest, and every Python that this machine has.

A row is a virtual environment of its own: the key tests run in it, its keys are compared
with those of the first row, and the demo runs its stack. Needs nothing but a Python.

    python tests/matrix.py                    every row
    python tests/matrix.py lowest newest      these rows
    python tests/matrix.py --where-installable lowest newest
                                              where an index lacks a version, its row says so and does not fail
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
MINORS = (11, 12, 13, 14)
TOOLS = ("polars>=2,<3", "pytest>=9,<10", "pytest-timeout>=2.4,<3", "hypothesis>=6.150")
TESTS = (
    "fingerprint/test_fingerprint_golden.py",
    "features/test_keys.py",
    "results/test_results.py",
    "features/digests",
)
SHOWN = ("pandas", "numpy", "pyarrow", "celery", "kombu", "redis", "SQLAlchemy")
SECONDS = {"venv": 120, "install": 600, "keys": 120, "tests": 400, "demo": 300}


@dataclass
class Row:
    """One environment and what came of it; ``pins`` are more words for pip."""

    name: str
    python: str
    pins: list[str] = field(default_factory=list)
    versions: str = ""
    told: dict[str, str] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    failure: str = ""
    not_installed: str = ""

    @property
    def result(self) -> str:
        """Return the word that the table ends with."""
        return "FAILED" if self.failure else "not installable here" if self.not_installed else "passed"


def pythons() -> dict[int, str]:
    """Find an interpreter of each supported minor version, on PATH or where pyenv and uv keep theirs."""
    found: dict[int, str] = {sys.version_info[1]: sys.executable} if sys.version_info[0] == 3 else {}
    for minor in MINORS:
        kept = [
            *Path("~/.pyenv/versions").expanduser().glob(f"3.{minor}.*/bin/python"),
            *Path("~/.local/share/uv/python").expanduser().glob(f"cpython-3.{minor}*/bin/python"),
        ]
        for candidate in (shutil.which(f"python3.{minor}"), *map(str, sorted(kept))):
            if minor not in found and candidate and _is_python(candidate, minor):
                found[minor] = candidate
    return {minor: found[minor] for minor in MINORS if minor in found}


def _is_python(path: str, minor: int) -> bool:
    program = "import sys, venv, ensurepip; print(sys.version_info[1])"
    ran = subprocess.run([path, "-c", program], capture_output=True, text=True, check=False)
    return ran.returncode == 0 and ran.stdout.strip() == str(minor)


def lowest() -> str:
    """Return pip's constraints that hold every direct dependency at the lower end of its range."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = []
    for wanted in (*project["dependencies"], *project["optional-dependencies"]["embedded"]):
        bound = re.match(r"([\w.-]+)(?:\[[^]]*\])?>=([\w.]+)", wanted)
        if bound:
            marker = wanted.partition(";")[2]
            lines.append(f"{bound[1]}=={bound[2]}" + (f" ;{marker}" if marker else ""))
    return "\n".join(lines) + "\n"


def run(row: Row, folder: Path) -> None:
    """Make the environment of a row and ask it everything; the first failure ends the row."""
    bin_folder = folder / row.name / ("Scripts" if os.name == "nt" else "bin")
    python, home = str(bin_folder / "python"), folder / f"{row.name}.home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FEATURE_STORE_") and k != "PYTHONPATH"}
    environment |= {"HOME": str(home)} if os.name != "nt" else {}
    tests = [f"tests/unit/{name}" for name in TESTS]
    listing = f"import json, importlib.metadata as m; print(json.dumps({{n: m.version(n) for n in {SHOWN}}}))"
    steps = (
        ("venv", [row.python, "-m", "venv", str(folder / row.name)]),
        ("install", [python, "-m", "pip", "install", "-q", *row.pins, f"{folder / 'source'}[embedded]", *TOOLS]),
        ("versions", [python, "-c", listing]),
        ("keys", [python, "-c", "import json; from tests.key_portrait import keys; print(json.dumps(keys()))"]),
        ("tests", [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]),
        ("demo", [str(bin_folder / "fstore"), "demo", "--trainers", "4", "--requests", "3"]),
    )
    for step, command in steps:
        began = time.monotonic()
        # The demo runs away from the source: what is installed has to do.
        at = folder if step == "demo" else folder / "source"
        where = os.environ if step in ("venv", "install") else environment
        try:
            ran = subprocess.run(
                command, cwd=at, env=where, capture_output=True, text=True, timeout=SECONDS.get(step, 60), check=False
            )
        except subprocess.TimeoutExpired as late:
            row.failure = f"{step}: not done within {late.timeout:.0f} s"
            return
        row.told[step] = f"{time.monotonic() - began:.0f} s"
        print(f"  {step}: {row.told[step]}", flush=True)
        if step == "install" and ran.returncode != 0 and "No matching distribution" in ran.stderr:
            row.not_installed = ran.stderr.strip().splitlines()[-1]
            return
        if ran.returncode != 0:
            row.failure = f"{step}: " + "\n".join((ran.stdout + ran.stderr).strip().splitlines()[-25:])
            return
        if step == "versions":
            row.versions = ", ".join(f"{name} {number}" for name, number in json.loads(ran.stdout).items())
        elif step == "keys":
            row.keys = json.loads(ran.stdout)
        elif step == "tests":
            row.told[step] = f"{ran.stdout.strip().splitlines()[-1].strip('= ')}"


def main(arguments: list[str] | None = None) -> int:
    """Run the rows and print the table; 1 when one failed, or keys differ between two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="lowest, newest, 3.11 ... 3.14; all by default")
    parser.add_argument("--where-installable", action="store_true", help="an index that lacks a version fails no row")
    parser.add_argument("--list", action="store_true", help="print the rows and the Pythons found, and stop")
    given = parser.parse_args(arguments)
    found = pythons()
    missing = [f"3.{minor}" for minor in MINORS if minor not in found]
    with tempfile.TemporaryDirectory(prefix="fstore-matrix-") as name:
        folder = Path(name)
        (folder / "lowest.txt").write_text(lowest())
        first, last = found[min(found)], found[max(found)]
        released = ["-c", str(REPOSITORY / "constraints.txt")]
        rows = [
            # pandas 3.0.0 cannot make zones of a later dateutil, and bounds it from below only.
            Row("lowest", first, ["-c", str(folder / "lowest.txt"), "python-dateutil<3"]),
            Row("newest", last, ["--upgrade"]),
            *(Row(f"3.{minor}", path, released) for minor, path in found.items()),
        ]
        unknown = set(given.rows) - {row.name for row in rows}
        rows = [row for row in rows if row.name in (given.rows or [row.name])]
        print("not found here: Python " + (", ".join(missing) or "none, all are here"), flush=True)
        if given.list:
            print("\n".join(f"{row.name:8} {row.python}" for row in rows))
            return 0
        if unknown:
            print(f"no such row here: {', '.join(sorted(unknown))}")
        left_out = shutil.ignore_patterns(
            ".git", ".venv", "build", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis"
        )
        shutil.copytree(REPOSITORY, folder / "source", ignore=left_out)
        for row in rows:
            print(f"{row.name}: {row.python}", flush=True)
            run(row, folder)
            if row.not_installed and not given.where_installable:
                row.failure = f"install: {row.not_installed}"
            _compare(row, next((other for other in rows if other.keys), row))
            shutil.rmtree(folder / row.name, ignore_errors=True)
            print(f"  {row.versions}\n  {f'{row.result} {row.failure or row.not_installed}'}", flush=True)
    print("\n| row | Python | versions | keys | tests | demo | result |\n|---|---|---|---|---|---|---|")
    for row in rows:
        shown = (
            row.name,
            row.python,
            row.versions,
            f"{len(row.keys)} keys",
            row.told.get("tests", "-"),
            row.told.get("demo", "-"),
        )
        print(f"| {' | '.join(shown)} | {row.result} |")
    return 1 if unknown or any(row.failure for row in rows) else 0


def _compare(row: Row, first: Row) -> None:
    if row.keys and not row.failure and first.keys and row.keys != first.keys:
        other = sorted(name for name in row.keys | first.keys if row.keys.get(name) != first.keys.get(name))
        row.failure = f"keys differ from those of row {first.name!r}: {', '.join(other)}"


if __name__ == "__main__":
    sys.exit(main())
