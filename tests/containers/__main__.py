"""``python -m tests.containers``: runs every command of ops/README.md and docs/backup.md on the Docker Engine it finds.

It works in copies of what git tracks, in Compose projects of its own ("fstore-walk", and "fstore-walk-bucket" with an object
store: own images, volumes, networks and ports), and takes all of it down at the end; a stack that runs on the host is left
alone. It ends with 0 and says why where there is no engine. Base images are taken from the engine if they are there, so that
a machine without a registry can be given stand-ins of the same names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.containers.bucket import walk_with_a_bucket
from tests.containers.walk import IMAGE, OBJECT_STORE_IMAGE, Walk
from tests.containers.watch import HealthWatch
from tests.e2e.documents import blocks_of

PROJECT, DRILL = "fstore-walk", "fstore-drill"
PAGES = ("ops/README.md", "docs/backup.md")


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


def main() -> int:
    """Walk the pages; the backup is made and restored before the first page takes the stack down."""
    if lack := why_not():
        print(f"skipped: {lack}. 'make containers' needs Docker Engine 25 and Compose 2.24, or newer.")
        return 0
    first, backup = (blocks_of(REPOSITORY / page) for page in PAGES)
    with tempfile.TemporaryDirectory(prefix="fstore-walk-", dir=os.environ.get("FSTORE_WALK_DIR")) as place:
        try:
            walk = Walk(Path(place, "folder"), PROJECT)
            try:
                with HealthWatch(PROJECT) as watch:
                    for block in (*first[:-1], *backup):
                        walk.take(block)
                assert not watch.unhealthy, f"on the way these were unhealthy: {sorted(watch.unhealthy)}"
                print(f"       nothing was unhealthy in {watch.looks} looks", flush=True)
                walk.check_image()
                walk.take(first[-1])
            finally:
                walk.close(DRILL)
            walk_with_a_bucket(Path(place, "bucket"), first)
        finally:
            for image in (IMAGE, OBJECT_STORE_IMAGE):
                subprocess.run(["docker", "image", "rm", image], capture_output=True, timeout=60, check=False)
    print("the pages hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
