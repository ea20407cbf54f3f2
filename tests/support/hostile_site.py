"""A worker that takes signed messages only, and an intruder's way to its Redis."""

from __future__ import annotations

import base64
import json
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import redis

from fstore.broker import signing
from fstore.broker.signing import KeyRing
from fstore.stack import temporary_servers
from tests import sample_features
from tests.conftest import House, Servers, build_house
from tests.waiting import eventually

KEY, STRANGERS_KEY = "test-key-0123456789abcdef", "another-key-0123456789abc"
RAW = pd.DataFrame({"price": [1.0, 2.0, 3.0]})
QUEUES = ("fstore.compute", "fstore.write", "fstore.upkeep")
TASK = "fstore.get_or_compute"


@dataclass
class Site:
    """A store whose workers take signed messages only, and the intruder's way to its Redis."""

    house: House
    worker: subprocess.Popen[bytes]
    link: redis.Redis
    folder: Path

    def marked(self, name: str) -> dict[str, Any]:
        """Return a request that leaves files in a folder when it is computed."""
        RAW.to_parquet(self.folder / "raw.parquet")
        return {
            "symbol": "HOSTILE",
            "feature": "tests.sample_features:slow",
            "config": {"seconds": 0, "marks": str(self.folder / name)},
            "raw_data": str(self.folder / "raw.parquet"),
        }

    def rejected(self) -> int:
        """Return how many messages were dropped so far."""
        return self.house.store.get_cache_stats()["messages_rejected"]

    def goes_on(self) -> None:
        """Check that the worker lives, has taken all that lay in its queues, and serves the next good request."""
        found = self.house.store.get_or_compute(
            "GOOD", RAW, {"factor": time.time()}, sample_features.scaled, timeout=30
        )
        assert len(found) == len(RAW)
        assert self.worker.poll() is None
        for queue in QUEUES:
            eventually(lambda q=queue: self.link.llen(f"fstore:{q}") == 0, seconds=10, what=f"{queue} to be empty")  # type: ignore[misc]

    def log(self) -> str:
        """Return all that the worker logged."""
        return "".join(path.read_text(errors="replace") for path in self.folder.glob("worker-*.log"))


@contextmanager
def guarded_worker(folder: Path) -> Iterator[Site]:
    """Run servers and one worker with a signing key."""
    with temporary_servers() as running, ExitStack() as stack:
        servers = Servers(running.postgres_url, running.redis_url)
        house = build_house(servers, folder, stack, signing_key=KEY)
        link = stack.enter_context(redis.Redis.from_url(running.redis_url))
        yield Site(house, house.start(), link, folder)


def message(body: bytes, *, key: str | None = KEY, at: float | None = None, **changes: Any) -> dict[str, Any]:
    """Build a message as Celery would; signed unless there is no key."""
    headers = {"lang": "py", "task": TASK, "id": str(uuid.uuid4()), "retries": 0, "timelimit": [None, None]}
    built = {
        "body": body,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {**headers, **changes.pop("headers", {})},
        "properties": {
            "correlation_id": headers["id"],
            "delivery_info": {"exchange": "", "routing_key": "fstore.compute"},
            "delivery_tag": str(uuid.uuid4()),
            "body_encoding": "base64",
            "priority": 0,
        },
        **changes,
    }
    if key is not None:
        signature = signing.signed(built, "", KeyRing.of(key), now=at or time.time())
        built["headers"][signing.SIGNATURE] = signature
    return {**built, "body": base64.b64encode(body).decode()}


def task_body(request: object, **follow_ups: object) -> bytes:
    """Build the content of a task: no arguments by place, the request by name, and what is to follow."""
    return json.dumps([[], {"request": request}, follow_ups]).encode()


def push(site: Site, *messages: object, queue: str = "fstore.compute") -> None:
    """Put messages, or bytes as they are, into a queue."""
    texts = [item if isinstance(item, bytes) else json.dumps(item) for item in messages]
    site.link.lpush(f"fstore:{queue}", *texts)


def answer(site: Site, sent: dict[str, Any]) -> dict[str, Any]:
    """Wait for the result that a worker stores for a plain Celery client."""
    name = f"fstore:celery-task-meta-{sent['headers']['id']}"

    def ended() -> dict[str, Any] | None:
        found = json.loads(site.link.get(name) or "{}")
        return found if found.get("status") in ("SUCCESS", "FAILURE") else None

    return eventually(ended, seconds=20, what="the task's answer")
