"""The pages people read: every block of code in them runs, or says why it cannot."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.conftest import REPOSITORY
from tests.e2e.documents import NO_RUN, RUN_ELSEWHERE, SHOWN, WRITTEN, blocks_of, pages, reader_environment, run_page

ALL = [block for page in pages() for block in blocks_of(page)]
WITH_CODE = [page for page in pages() if any(block.runs for block in blocks_of(page))]
MOST_NOT_RUN = 10
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """The home of a reader who has a stack running on it, with the features of all pages."""
    made = Path(tempfile.mkdtemp(prefix="fst-docs-")).resolve()
    made.chmod(0o711)  # the servers' account has to pass through
    modules = []
    for block in ALL:
        if block.file is not None:
            place = made / block.file
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(block.code)
            modules += [block.file.removesuffix(".py").replace("/", ".")] if block.language == "python" else []
    started = ["fstore", "up", "--detach", "--features", ",".join(modules)]
    try:
        subprocess.run(started, cwd=made, env=reader_environment(made), check=True, timeout=120)
        yield made
    finally:
        subprocess.run(["fstore", "down"], cwd=made, env=reader_environment(made), check=True, timeout=60)
        shutil.rmtree(made, ignore_errors=True)


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.name)
def test_every_block_runs_and_prints_what_the_page_says(home: Path, page: Path) -> None:
    """A reader who types a page from top to bottom meets no error, and sees what the page promises."""
    printed = run_page(page, folder=home, environment=reader_environment(home), seconds=120)

    for block in blocks_of(page):
        for promise in block.promises if block.runs else ():
            assert promise in printed[block.line], f"{page.name}:{block.line} prints:\n{printed[block.line]}"


def test_few_blocks_do_not_run_and_each_has_a_reason() -> None:
    """What cannot run here is of a known kind, rare, and at least correct in syntax."""
    not_run = [block for block in ALL if block.no_run is not None]

    assert {block.no_run for block in not_run} <= set(NO_RUN) | set(RUN_ELSEWHERE)
    assert len([block for block in not_run if block.no_run not in RUN_ELSEWHERE]) <= MOST_NOT_RUN
    assert all(block.language == "console" and not block.promises for block in not_run)
    for block in not_run:
        checked = subprocess.run(["bash", "-n", "-c", block.code], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{block.page}:{block.line}: {checked.stderr}"


def test_no_block_of_code_hides_under_another_name() -> None:
    """A block that is neither run nor written to a file is a drawing, a text or a file to look at."""
    idle = [block for block in ALL if not block.runs and block.no_run is None and block.file is None]

    assert {block.language for block in idle} <= set(SHOWN), [(b.page, b.line) for b in idle if b.language not in SHOWN]
    assert {block.language for block in ALL if block.file is not None} <= set(WRITTEN)
    assert sum(block.runs for block in ALL) >= 20


def test_a_broken_block_fails_its_page(tmp_path: Path) -> None:
    """The run of a page is worth something: an error in Python or of a command is not passed over."""
    for code in ("```python\n1 / 0\n```\n", "```console\n$ false\n$ true\n```\n"):
        broken = tmp_path / "page.md"
        broken.write_text(code)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tests.e2e.documents.REPOSITORY", tmp_path)
            with pytest.raises(AssertionError, match=r"page.md fails"):
                run_page(broken, folder=tmp_path, environment=reader_environment(tmp_path), seconds=30)


def test_links_between_pages_lead_somewhere() -> None:
    """A link to another file of the repository names one that is there."""
    broken = [
        f"{page.name}: {target}"
        for page in [*pages(), *(REPOSITORY / "ops").rglob("*.md")]
        for target in _LINK.findall(page.read_text())
        if "://" not in target and not (page.parent / unquote(target)).exists()
    ]
    assert broken == []
