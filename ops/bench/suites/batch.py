"""Times batches of small keys against what the same worker does with tasks that do nothing.

    python ops/bench/batch.py [--quick] [--json] [--check]

5,000 keys, frames of 390 x 10: as many frames of raw data as keys (a day of minute
bars of each symbol), or one frame under as many configs. Bare
throughput is the best of several ways to send tasks that do nothing: awaited one by one,
as a group, or with results ignored by one sender or by four until the worker has
emptied the queue.
"""

from __future__ import annotations

import statistics
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import redis
from blake3 import blake3
from celery import group
from harness.features import day, unchanged
from harness.figures import Figure, Outcome
from harness.parts import LEAD_S, Part, crew, serve, together
from harness.stand import NOOP, Stand, celery_client, cpu_seconds, open_in_part, stand

from fstore import FeatureStore, Request
from fstore.broker import COMPUTE_QUEUE, KEY_PREFIX

KEYS = 5000
SENDERS = 4
OWN, SHARED = "own raw data for each key", "one frame of raw data"


def measure(*, quick: bool) -> Outcome:
    """Time misses and bare tasks in turn, then hits and peeks of the keys that are there."""
    keys, tasks, rounds = (200, 200, 1) if quick else (KEYS, 2000, 3)
    with stand() as place, crew("batch", 1 if quick else SENDERS, place.child_environment()) as senders:
        worker = place.worker()
        with place.trainer(tier=True) as store:
            bare: dict[str, list[float]] = {}
            missed: dict[str, list[float]] = {OWN: [], SHARED: []}
            wanted: dict[str, list[Request]] = {}
            files: dict[str, int] = {}
            for number in range(-1, rounds):  # the first round warms everything
                for way, rate in bare_rates(place, senders, tasks if number >= 0 else 50).items():
                    bare.setdefault(way, []).append(rate) if number >= 0 else None
                wanted = batches(number, keys if number >= 0 else 50)
                for case, requests in wanted.items():
                    before = files_of_entries(place)
                    rate = len(requests) / seconds_of(lambda: drain(store, requests))  # noqa: B023 called at once
                    files[case] = files_of_entries(place) - before
                    missed[case] += [rate] if number >= 0 else []
            ready = {case: ready_rates(store, requests, rounds=2 if quick else 5) for case, requests in wanted.items()}
            times = processor_times(place, store, worker.pid, batches(rounds, keys), tasks)
    best = max(statistics.median(rates) for rates in bare.values())
    misses = {case: statistics.median(rates) for case, rates in missed.items()}
    measured = {
        "bare tasks per second": {way: round(statistics.median(rates), 1) for way, rates in bare.items()},
        "misses per second": {case: round(rate, 1) for case, rate in misses.items()},
        "ready keys per second": ready,
        "processor ms": times,
        "files written": files,
        "keys": keys,
    }
    figures = judged(misses, ready, best) + judged_processor(times, ready[OWN])
    figures += [Figure(f"files written for a batch, {case}", count, 100) for case, count in files.items()]
    return Outcome("batch", figures, measured)


def files_of_entries(place: Stand) -> int:
    """Count the files that hold entries, alone or together."""
    return sum(1 for file in (place.settings.path / "entries").rglob("*") if file.is_file())


def judged_processor(times: dict[str, dict[str, float]], ready: dict[str, float]) -> list[Figure]:
    """Return what a key takes of the processor: in a batch beside a bare task, and peeked at beside its hashing alone."""
    all_of = {case: sum(spent.values()) for case, spent in times.items()}
    bare, taken = (
        all_of["bare task, result ignored"],
        "processor time of a key in a batch, caller and worker / of a bare task",
    )
    figures = [Figure(f"{taken}, {case}", all_of[case] / bare, limit) for case, limit in ((OWN, 0.67), (SHARED, 0.5))]
    if "peeks, processor us" in ready:
        over = ready["peeks, processor us"] / ready["hashing alone, processor us"]
        figures.append(Figure(f"peek_many, processor time / that of hashing alone, {OWN}", over, 1.3))
    return figures


def judged(misses: dict[str, float], ready: dict[str, dict[str, float]], best: float) -> list[Figure]:
    """Return what was promised, for the harder case, and the easier one beside it."""
    figures = [
        Figure(f"misses in a batch / best bare throughput, {OWN}", misses[OWN] / best, 2.0, "at least"),
        Figure(f"misses in a batch / best bare throughput, {SHARED}", misses[SHARED] / best, 3.0, "at least"),
        Figure(f"hits in a batch, keys/s, {OWN}", ready[OWN]["hits"], 1500, "at least"),
        Figure(f"hits in a batch, keys/s, {SHARED}", ready[SHARED]["hits"]),
    ]
    if "peeks" in ready[OWN]:
        figures.append(Figure(f"peek_many, keys/s, {OWN}", ready[OWN]["peeks"], 20_000, "at least"))
        figures.append(Figure(f"peek_many, keys/s, {SHARED}", ready[SHARED]["peeks"]))
    return figures


def batches(number: int, keys: int) -> dict[str, list[Request]]:
    """Make the requests of one round; no other round asks for any of their keys."""
    one = day(-1 - number)
    first = (number + 2) * KEYS
    return {
        OWN: [Request(f"S{i}", day(first + i), {}, unchanged) for i in range(keys)],
        SHARED: [Request("BENCH", one, {"n": first + i}, unchanged) for i in range(keys)],
    }


def drain(store: FeatureStore, requests: list[Request]) -> None:
    """Take every answer of a batch."""
    answers = sum(1 for _ in store.get_or_compute_many(requests))
    assert answers == len(requests)


def ready_rates(store: FeatureStore, requests: list[Request], *, rounds: int) -> dict[str, float]:
    """Return keys a second of a batch that is all hits; the first time, which fills the local tier, by itself."""
    first = seconds_of(lambda: drain(store, requests))
    rates = {
        "hits, first time": len(requests) / first,
        "hits": len(requests) / statistics.median(seconds_of(lambda: drain(store, requests)) for _ in range(rounds)),
    }
    if (peek_many := getattr(store, "peek_many", None)) is not None:

        def peek() -> None:
            assert all(entry is not None for _, entry in peek_many(requests))

        rates["peeks"] = len(requests) / statistics.median(seconds_of(peek) for _ in range(rounds))
        # The least of all rounds: whatever else runs only adds to it.
        rates["peeks, processor us"] = min(processor_us(peek) for _ in range(rounds)) / len(requests)
        frames = [request.raw_data for request in requests]
        floor = min(processor_us(lambda: [hashed_alone(frame) for frame in frames]) for _ in range(rounds))
        rates["hashing alone, processor us"] = floor / len(requests)
    return {name: round(rate, 1) for name, rate in rates.items()}


def processor_times(
    place: Stand, store: FeatureStore, worker: int, wanted: dict[str, list[Request]], tasks: int
) -> dict[str, dict[str, float]]:
    """Return what a key, and a bare task, takes of the processor: the caller, and the worker with its children."""
    app = celery_client(place.settings)
    acts: dict[str, tuple[int, Callable[[], None]]] = {
        "bare task, result ignored": (tasks, lambda: send_and_wait(place, app, tasks)),
        **{case: (len(requests), partial(drain, store, requests)) for case, requests in wanted.items()},
    }
    found = {}
    for name, (count, act) in acts.items():
        own, other = time.process_time(), cpu_seconds(worker)
        act()
        spent = {"caller": time.process_time() - own, "worker": cpu_seconds(worker) - other}
        found[name] = {who: round(seconds / count * 1000, 3) for who, seconds in spent.items()}
    app.close()
    return found


def bare_rates(place: Stand, senders: list[Part], tasks: int) -> dict[str, float]:
    """Return tasks a second that do nothing, by the way they are sent."""
    app = celery_client(place.settings)
    noop = app.signature(NOOP)
    found = {
        "awaited one by one": tasks / 4 / seconds_of(lambda: [noop.delay().get(timeout=60) for _ in range(tasks // 4)]),
        "group().get()": tasks / seconds_of(lambda: group([noop] * tasks, app=app).delay().get(timeout=120)),
        "results ignored": tasks / seconds_of(lambda: send_and_wait(place, app, tasks)),
    }
    share = tasks // len(senders)
    began = time.monotonic()
    together(senders, tasks=share)
    wait_until_done(place)
    # Senders begin in step, a moment after they were told.
    found[f"results ignored, {len(senders)} senders"] = share * len(senders) / (time.monotonic() - began - LEAD_S)
    app.close()
    return found


def send_ignored(app: Any, tasks: int) -> None:
    """Send tasks whose results nobody wants."""
    for _ in range(tasks):
        app.send_task(NOOP, ignore_result=True)


def send_and_wait(place: Stand, app: Any, tasks: int) -> None:
    """Send tasks whose results nobody wants, and wait until the worker has done them."""
    send_ignored(app, tasks)
    wait_until_done(place)


def wait_until_done(place: Stand) -> None:
    """Wait until no task is queued or unacknowledged: fstore's workers acknowledge what is done."""
    client = redis.Redis.from_url(place.environment["FEATURE_STORE_REDIS_URL"])
    ends_at = time.monotonic() + 120
    while client.llen(f"{KEY_PREFIX}{COMPUTE_QUEUE}") or client.hlen(f"{KEY_PREFIX}unacked"):
        assert time.monotonic() < ends_at, "the worker did not empty its queue"
        time.sleep(0.005)
    client.close()


def hashed_alone(frame: pd.DataFrame) -> str:
    """Hash a frame of one dtype as its digest is made (each column, the digests of the columns), and look at nothing else."""
    data = memoryview(frame.to_numpy().T).cast("B")  # type: ignore[arg-type]  # mypy knows no array as a buffer
    width, ends, leaves = len(data) // frame.shape[1], struct.pack("<QQB", len(frame), 0, 0), []
    for at in range(0, len(data), width):
        leaf = blake3(data[at : at + width])
        leaf.update(ends)
        leaves.append(blake3(leaf.digest()).hexdigest())
    return blake3("".join(leaves).encode()).hexdigest()


def processor_us(act: Callable[[], object]) -> float:
    """Return the processor time of one call in microseconds."""
    began = time.process_time()
    act()
    return (time.process_time() - began) * 1e6


def seconds_of(act: Callable[[], object]) -> float:
    """Return how long one call takes."""
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def be_part(_: int) -> int:
    """Be one of the senders."""
    with open_in_part() as store:
        app = celery_client(store.settings)

        def act(*, wait: Callable[[], None], tasks: int) -> Any:
            wait()
            send_ignored(app, tasks)

        return serve(act)
