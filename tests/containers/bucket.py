"""The pages' stack with a bucket as its root, and the object store of the compose file: what differs from a folder."""

from __future__ import annotations

import json
from pathlib import Path

from tests.containers.rights import ALLOWED
from tests.containers.walk import KINDS, Walk
from tests.containers.watch import HealthWatch
from tests.e2e.documents import Block

PROJECT = "fstore-walk-bucket"
HERE = Path(__file__).parent
OF_A_BUCKET = "bucket"
TRAINER = "docker compose -f trainer.yml -f trainer-bucket.yml run --rm -T trainer"
AS_ROLE = {
    "upkeep": "docker compose exec -T worker-upkeep",
    "trainer": TRAINER,
    "worker": "docker compose exec -T worker-compute",
    "nobody": "docker compose exec -T worker-compute",
}


def walk_with_a_bucket(place: Path, page: list[Block]) -> None:
    """Start with what the page says of a bucket, compute through it, hold each role to its rights, change a key, start again."""
    walk = Walk(place, PROJECT, OBJECT_STORE_BYTES="2G")
    own = [block for block in page if block.no_run == OF_A_BUCKET]
    first = next(block for block in page if block.language == "console")
    try:
        with HealthWatch(PROJECT) as watch:
            for block in page:
                if block.file is not None:
                    walk.take(block, (*KINDS, OF_A_BUCKET))
            walk.take(first)
            walk.run(f"{TRAINER} fstore doctor", "doctor of a trainer")
            for number, block in enumerate(own):
                if block.file is None:
                    walk.take(block, (OF_A_BUCKET,))
                    train(walk, symbol=f"S{number}")
            check_rights(walk)
            walk.run("docker compose down && docker compose up -d --wait", "down and up")
            train(walk, symbol="AAPL")
        assert not watch.unhealthy, f"with a bucket these were unhealthy: {sorted(watch.unhealthy)}"
    finally:
        walk.close()


def train(walk: Walk, *, symbol: str) -> None:
    """Have something new computed, by workers that hold the keys of now."""
    script = (walk.folder / "train.py").read_text().replace("AAPL", symbol)
    (walk.folder / "other.py").write_text(script)
    walk.run(f"{TRAINER} python - < other.py", f"a trainer asks for {symbol}")


def check_rights(walk: Walk) -> None:
    """Each role may do what its policy says, and nothing else."""
    for role, command in AS_ROLE.items():
        (walk.folder / "rights.py").write_text((HERE / "rights.py").read_text())
        printed = walk.run(f"{command} python - {role} < rights.py", f"rights of {role}")
        allowed = set(json.loads(printed.strip().splitlines()[-1]))
        assert allowed == ALLOWED[role], (role, sorted(allowed ^ ALLOWED[role]))
