"""``python -m tests.containers``: runs every command of ops/README.md and docs/backup.md on the Docker Engine it finds.

It works in a copy of what git tracks, in a Compose project of its own ("fstore-walk": its own image, volumes, networks
and ports), and takes all of it down at the end; a stack that runs on the host is left alone. It ends with 0 and says why where there is no engine. Base images are
taken from the engine if they are there, so that a machine without a registry can be given stand-ins of the same names.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.containers.watch import HealthWatch
from tests.e2e.documents import Block, blocks_of

PROJECT = "fstore-walk"
IMAGE = "fstore-walk:0.1.0"
PORTS = {"FLOWER_PORT": "25555", "METRICS_PORT": "29464"}
MOST_BYTES = 600_000_000
PAGES = ("ops/README.md", "docs/backup.md")
WALK_S, BLOCK_S = 2400, 900


def why_not() -> str:
    """Return what is missing, empty when nothing is."""
    if shutil.which("docker") is None:
        return "no docker command on PATH"
    for command, lack in (
        (("docker", "info"), "no Docker Engine answers"),
        (("docker", "compose", "version"), "no Compose plugin"),
        (("docker", "buildx", "version"), "no buildx plugin"),
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            return f"{lack}: {(done.stderr or done.stdout).strip().splitlines()[-1]}"
    return ""


class Walk:
    """A copy of the repository, and a shell that goes through the pages in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ends_at = folder, time.monotonic() + WALK_S
        for name in _output("git", "ls-files", cwd=REPOSITORY).splitlines():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, target)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("FSTORE_", "FEATURE_STORE_"))}
        self.environment = {**kept, **PORTS, "COMPOSE_PROJECT_NAME": PROJECT, "FSTORE_IMAGE": IMAGE}

    def run(self, code: str, what: str) -> str:
        """Run lines of shell; ends the walk with what they printed if they fail."""
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", code], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            timeout=max(1.0, min(BLOCK_S, self.ends_at - time.monotonic())),
        )  # fmt: skip
        print(f"{'ok' if done.returncode == 0 else 'FAILED':6} {time.monotonic() - began:6.1f} s  {what}", flush=True)
        if done.returncode != 0:
            raise SystemExit(f"{code}\n{done.stdout[-6000:]}")
        return done.stdout

    def take(self, block: Block) -> None:
        """Do with a block what its reader does; image, volumes and networks are this project's."""
        code = re.sub(r"\bfstore:\d[\w.]*", IMAGE, block.code)
        if block.file is not None:
            code = code.replace("fstore_back", f"{PROJECT}_back").replace("fstore_store", f"{PROJECT}_store")
            (self.folder / block.file).write_text(code)
        elif block.language == "console" and block.no_run in (None, "containers"):
            self.run(code, f"{block.page}:{block.line}  {block.code.splitlines()[0][:90]}")

    def check_image(self) -> None:
        """The image is small, all services run the same one, and a changed line installs no dependency again."""
        size = int(self.run("docker image inspect -f '{{.Size}}' " + IMAGE, "size of the image"))
        assert size < MOST_BYTES, f"the image has {size / 1e6:.0f} MB"
        ids = self.run("docker inspect -f '{{.Image}}' $(docker compose ps -q --all worker-compute worker-write"
                       " worker-upkeep beat flower metrics migrate)", "image of every service")  # fmt: skip
        assert len(set(ids.split())) == 1, ids
        with (self.folder / "fstore" / "__init__.py").open("a") as module:
            module.write("\n# one changed line\n")
        log = self.run("docker compose build --progress plain", "build with one changed line")
        step = re.search(r"^#(\d+) .*install -c constraints.txt -r requirements.txt$", log, re.MULTILINE)
        assert step, log[-3000:]
        assert f"#{step[1]} CACHED" in log, "a changed line installs the dependencies again"
        print(f"       image {size / 1e6:.0f} MB, one for all; dependencies cached", flush=True)

    def close(self) -> None:
        """Take down everything that the walk made."""
        for project in (PROJECT, "fstore-drill"):
            subprocess.run(
                ["docker", "compose", "-p", project, "down", "-v", "--timeout", "5"],
                cwd=self.folder, env=self.environment, capture_output=True, timeout=300, check=False,
            )  # fmt: skip
        subprocess.run(["docker", "image", "rm", IMAGE], capture_output=True, timeout=60, check=False)


def main() -> int:
    """Walk the pages; the backup is made and restored before the first page takes the stack down."""
    if lack := why_not():
        print(f"skipped: {lack}. 'make containers' needs Docker Engine 25 and Compose 2.24, or newer.")
        return 0
    first, backup = (blocks_of(REPOSITORY / page) for page in PAGES)
    with tempfile.TemporaryDirectory(prefix="fstore-walk-", dir=os.environ.get("FSTORE_WALK_DIR")) as place:
        walk = Walk(Path(place))
        try:
            with HealthWatch(PROJECT) as watch:
                for block in first[:-1]:
                    walk.take(block)
                for block in backup:
                    walk.take(block)
            assert not watch.unhealthy, f"on the way these were unhealthy: {sorted(watch.unhealthy)}"
            print(f"       nothing was unhealthy in {watch.looks} looks", flush=True)
            walk.check_image()
            walk.take(first[-1])
        finally:
            walk.close()
    print("the pages hold")
    return 0


def _output(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    sys.exit(main())
