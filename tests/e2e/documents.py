"""Reads the code blocks of a page, and runs them in the order a reader would.

The info string of a block says what it is: ``python`` and ``console`` run;
``file=NAME`` is written to a file instead; ``no-run=KIND`` cannot run here, for
a reason of that kind. ``# -> text`` at the end of a line says what the block prints.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.conftest import REPOSITORY

NO_RUN = {
    "suite": "runs this very suite, or the demo that has a test of its own",
    "install": "needs a package index and a new environment: CI starts from one",
    "bench": "takes minutes of a quiet machine; the page says what it gave",
    "docker": "needs a container engine: test_compose_processes runs each service's command",
    "fleet": "needs other hosts: test_compose_processes runs the same commands",
}
RUN_ELSEWHERE = {
    "containers": "tests.containers runs it on the Docker Engine it finds",
    "backup": "test_backup.py runs it on a Postgres and a folder of its own",
    "gateway": "test_object_store.py runs it against the object store of the compose file",
}
RUN, WRITTEN, SHOWN = ("python", "console"), ("python", "yaml"), ("text", "yaml", "sql", "")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`]*)$")
_PROMISE = re.compile(r"# -> (?P<text>.+)$", re.MULTILINE)

# Runs as a program: one namespace for all Python of a page, a shell for each console block, a mark before each block.
_READER = """\
import json, pathlib, subprocess, sys
page = json.load(sys.stdin)
session = {"__name__": "__main__"}
for block in page["blocks"]:
    print("\\n@@", block["line"], flush=True)
    place = "\\n" * block["line"] + block["code"]
    if block["language"] == "python":
        exec(compile(place, page["path"], "exec"), session)
    else:
        subprocess.run(["bash", "-euo", "pipefail", "-c", block["code"]], check=True, stdin=subprocess.DEVNULL)
    sys.stdout.flush()
"""


@dataclass(frozen=True)
class Block:
    """One fenced block; ``line`` is that of its opening fence, ``code`` has neither indentation nor prompts."""

    page: str
    line: int
    language: str
    file: str | None
    no_run: str | None
    code: str

    @property
    def promises(self) -> list[str]:
        """What the block says it prints."""
        return [found["text"].strip() for found in _PROMISE.finditer(self.code)]

    @property
    def runs(self) -> bool:
        """Whether a reader would run it here."""
        return self.language in RUN and self.file is None and self.no_run is None


def pages() -> list[Path]:
    """Return the pages that people read, the shortest way in first."""
    return [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page; raises ``ValueError`` for a fence that is never closed or an unknown option."""
    found, opened, lines = [], None, page.read_text().splitlines()
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if fence is None:
            continue
        if opened is None:
            opened = (number, fence)
            continue
        start, first = opened
        language, *options = first["info"].split() or [""]
        given = dict(option.split("=", 1) for option in options)
        if set(given) - {"file", "no-run"}:
            raise ValueError(f"{page.name}:{start}: unknown option in {first['info']!r}")
        body = [text.removeprefix(first["indent"]) for text in lines[start : number - 1]]
        if language == "console":
            body = _commands(body, f"{page.name}:{start}")
        code = "\n".join(body) + "\n"
        found.append(
            Block(str(page.relative_to(REPOSITORY)), start, language, given.get("file"), given.get("no-run"), code)
        )
        opened = None
    if opened is not None:
        raise ValueError(f"{page.name}:{opened[0]}: the block is never closed")
    return found


def run_page(page: Path, *, folder: Path, environment: Mapping[str, str], seconds: float) -> dict[int, str]:
    """Run a page's blocks in one session, and return what each printed, by line; an error of a block fails the test."""
    blocks = [asdict(block) for block in blocks_of(page) if block.runs]
    done = subprocess.run(
        [sys.executable, "-c", _READER],
        input=json.dumps({"path": str(page), "blocks": blocks}),
        env=dict(environment),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{page.name} fails:\n{done.stdout[-6000:]}"
    printed = re.split(r"^@@ (\d+)$", done.stdout, flags=re.MULTILINE)
    return {int(line): text for line, text in zip(printed[1::2], printed[2::2], strict=True)}


def reader_environment(home: Path) -> dict[str, str]:
    """Return the environment of somebody who has just installed fstore."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("FEATURE_STORE_", "CELERY_", "OTEL_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", "")])
    return {**kept, "HOME": str(home), "PATH": path, "NO_COLOR": "1", "COLUMNS": "200"}


def _commands(lines: Sequence[str], place: str) -> list[str]:
    commands = [line[2:] for line in lines if line.startswith(("$ ", "> "))]
    if len(commands) != len([line for line in lines if line.strip()]):
        raise ValueError(
            f"{place}: a console block holds commands after '$ ' and nothing else; say output by '# -> text'"
        )
    return commands
