"""What is handed out: a wheel that runs without the repository, and a source archive with all of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a source archive, and the wheel that was made of that archive."""
    folder = tmp_path_factory.mktemp("built")
    tools = folder / "tools"
    run(sys.executable, "-m", "pip", "install", "-q", "--target", str(tools), "setuptools>=77")
    build = "import os, sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"
    path = {"PYTHONPATH": str(tools)}
    tree = folder / "tree"
    names = run("git", "-C", str(REPOSITORY), "ls-files", "-co", "--exclude-standard").splitlines()
    for name in names:
        source = REPOSITORY / name
        if source.is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_bytes(source.read_bytes())
    run(sys.executable, "-c", build, "build_sdist", str(folder), cwd=tree, **path)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder / "from", filter="data")
    (unpacked,) = (folder / "from").iterdir()
    run(sys.executable, "-c", build, "build_wheel", str(folder), cwd=unpacked, **path)
    return folder


def test_the_source_archive_has_what_the_repository_has(built: Path) -> None:
    """Whoever packages it finds documents, tests, constraints and the files of production."""
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}

    for wanted in ("CHANGELOG.md", "constraints.txt", "docs/design.md", "ops/flowerconfig.py", "ops/systemd/fstore-beat.service", "tests/conftest.py", "docker-compose.yml", "Makefile"):  # fmt: skip
        assert wanted in names
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_runs_and_exports_without_the_repository(built: Path, tmp_path: Path) -> None:
    """Installed elsewhere, it shows its help, and writes the very files of the repository."""
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"fstore/postgres/sql/job_control.sql", "fstore/py.typed", "fstore/cli/commands/look/jobs.py"} <= names
    assert not [name for name in names if name.startswith(("tests/", "ops/"))]
    place = tmp_path / "place"
    run(sys.executable, "-m", "venv", "--system-site-packages", str(place))
    python = str(place / "bin" / "python")
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", str(wheel))
    libraries = next(path for path in sys.path if path.endswith("site-packages"))
    outside = {"PYTHONPATH": libraries, "PYTHONNOUSERSITE": "1"}
    home = run(python, "-c", "import fstore; print(fstore.__file__)", cwd=tmp_path, **outside)
    assert str(place) in home

    assert "Production:" in run(python, "-m", "fstore.cli", "--help", cwd=tmp_path, **outside)
    run(python, "-m", "fstore.cli", "ops", "export", "out", cwd=tmp_path, **outside)
    written = {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }

    expected = {
        name
        for name in run("git", "-C", str(REPOSITORY), "ls-files", "ops").splitlines()
        if not name.startswith("ops/bench/")
    }
    assert written == expected | {"docker-compose.yml", ".env.example"}
    for name in written:
        assert (tmp_path / "out" / name).read_bytes() == (REPOSITORY / name).read_bytes()


def test_a_clone_is_imported_from_the_folder_above_it(built: Path, tmp_path: Path) -> None:
    """A folder of the package's name, which has no modules itself, hides nothing of what is installed from it."""
    clone = tmp_path / "fstore"
    shutil.copytree(built / "tree", clone)
    python = tmp_path / "place" / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", str(python.parent.parent))
    tools = {"PYTHONPATH": str(built / "tools")}
    installing = ("install", "-q", "--no-deps", "--no-build-isolation", "-e", str(clone))
    run(sys.executable, "-m", "pip", "--python", str(python), *installing, **tools)

    home = run(str(python), "-c", "import fstore; print(fstore.__file__)", cwd=tmp_path, PYTHONPATH="")
    assert home.strip() == str(clone / "fstore" / "__init__.py")


def run(*command: str, cwd: Path | None = None, **environment: str) -> str:
    """Run a command that has to succeed, and return what it printed."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
