"""A copy of the repository, and a shell that goes through the pages in it, in a Compose project of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.e2e.documents import Block

IMAGE, OBJECT_STORE_IMAGE = "fstore-walk:0.1.0", "fstore-walk-object-store:0.1.0"
PORTS = {"FLOWER_PORT": "25555", "METRICS_PORT": "29464"}
MOST_BYTES = 600_000_000
WALK_S, BLOCK_S = 2400, 900
KINDS = (None, "containers")


class Walk:
    """What it makes has the project's name and is taken down at the end."""

    def __init__(self, folder: Path, project: str, **variables: str) -> None:
        self.folder, self.project, self.ends_at = folder, project, time.monotonic() + WALK_S
        for name in _output("git", "ls-files", cwd=REPOSITORY).splitlines():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, target)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("FSTORE_", "FEATURE_STORE_"))}
        own = {"COMPOSE_PROJECT_NAME": project, "FSTORE_IMAGE": IMAGE, "OBJECT_STORE_IMAGE": OBJECT_STORE_IMAGE}
        self.environment = {**kept, **PORTS, **own, **variables}

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

    def take(self, block: Block, kinds: tuple[str | None, ...] = KINDS) -> None:
        """Do with a block what its reader does, if it is of these kinds; image, volumes and networks are this project's."""
        if block.no_run not in kinds:
            return
        code = re.sub(r"\bfstore:\d[\w.]*", IMAGE, block.code)
        if block.file is not None:
            code = code.replace("fstore_back", f"{self.project}_back").replace("fstore_store", f"{self.project}_store")
            (self.folder / block.file).write_text(code)
        elif block.language == "console":
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

    def close(self, *others: str) -> None:
        """Take down everything that the walk made."""
        for project in (self.project, *others):
            subprocess.run(
                ["docker", "compose", "-p", project, "down", "-v", "--timeout", "5"],
                cwd=self.folder, env=self.environment, capture_output=True, timeout=300, check=False,
            )  # fmt: skip


def _output(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout
