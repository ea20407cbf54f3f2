"""Whoever can write to Redis, but has no key, makes no worker compute, stop or fall; who has the key still cannot run code."""

from __future__ import annotations

import base64
import json
import os
import pickle
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fstore.broker import envelope, signing
from fstore.broker.signing import KeyRing
from tests import sample_features
from tests.conftest import REPOSITORY
from tests.support.hostile_site import (
    KEY,
    QUEUES,
    RAW,
    STRANGERS_KEY,
    TASK,
    Site,
    answer,
    guarded_worker,
    message,
    push,
    task_body,
)
from tests.waiting import eventually


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One worker for all that is done to it here: what hurts it is noticed by the next test at the latest."""
    with guarded_worker(tmp_path_factory.mktemp("hostile")) as made:
        yield made


def test_the_key_opens_the_door(site: Site) -> None:
    """A message of this very form is computed when it is signed: what the other tests send fails for their reasons alone."""
    sent = message(task_body(site.marked("signed")))
    push(site, sent)
    assert answer(site, sent)["result"]["status"] == "computed"
    assert len(list((site.folder / "signed").iterdir())) == 1


def test_what_celery_sends_again_is_signed_again(site: Site) -> None:
    """A task that is put back while another computes its key carries a signature of its own each time."""
    before = site.rejected()
    request = site.marked("again")
    request["config"]["seconds"] = 2
    twins = [message(task_body(request)) for _ in range(2)]
    push(site, *twins)

    assert sorted(answer(site, twin)["result"]["status"] for twin in twins) == ["coalesced", "computed"]
    assert "Retry in" in site.log()
    assert site.rejected() == before


def test_a_forged_message_is_dropped(site: Site) -> None:
    """Unsigned, signed by a stranger, or altered after it was signed: nothing is computed, each is counted, none is logged."""
    before, secret = site.rejected(), f"payload-{uuid.uuid4().hex}"
    body = task_body({**site.marked("forged"), "symbol": secret})
    altered = message(task_body({**site.marked("other"), "symbol": secret}))
    altered["body"] = base64.b64encode(body).decode()
    linked = message(task_body({**site.marked("other"), "symbol": secret}))
    linked["body"] = base64.b64encode(
        task_body({}, callbacks=[{"task": TASK, "args": [site.marked("forged")]}])
    ).decode()
    renamed = message(body)
    renamed["headers"]["task"] = "fstore.collect_garbage"

    push(site, message(body, key=None), message(body, key=STRANGERS_KEY), altered, linked, renamed)

    site.goes_on()
    eventually(lambda: site.rejected() == before + 5, seconds=10, what="the counter")
    assert not (site.folder / "forged").exists()
    assert secret not in site.log()
    for reason in ("not signed", "signed with an unknown key", "wrong signature"):
        assert f"message dropped: {reason}" in site.log()


def test_an_old_message_is_dropped_and_a_young_one_is_harmless(site: Site) -> None:
    """A message that was recorded two days ago is too old; one that was recorded a moment ago finds the work done."""
    before = site.rejected()
    old = message(task_body(site.marked("replayed")), at=time.time() - 2 * 86_400)
    young = message(task_body(site.marked("repeated")))

    push(site, old, young)
    assert answer(site, young)["result"]["status"] == "computed"
    push(site, young, young)

    site.goes_on()
    eventually(lambda: site.rejected() == before + 1, seconds=10, what="the counter")
    assert not (site.folder / "replayed").exists()
    assert len(list((site.folder / "repeated").iterdir())) == 1


@pytest.mark.parametrize("kind", ["application/x-python-serialize", "application/x-yaml", "application/data"])
def test_only_json_is_read(site: Site, kind: str) -> None:
    """Pickle and YAML run code when they are decoded; they are not, whoever signed them."""
    before, trap = site.rejected(), site.folder / "executed"

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (trap,))

    yaml = f"!!python/object/apply:os.system ['touch {trap}']".encode()
    push(site, *(message(body, **{"content-type": kind}) for body in (pickle.dumps(Trap()), yaml)))
    push(site, message(pickle.dumps(([Trap()], {}, {}))))

    site.goes_on()
    eventually(lambda: site.rejected() == before + 3, seconds=10, what="the counter")
    assert not trap.exists()


@pytest.mark.parametrize("levels", [100, 500, 900, 5_000])
def test_a_deep_message_is_dropped(site: Site, levels: int) -> None:
    """Whoever signed it: what is nested deeper than any config would overrun the decoder's stack."""
    before = site.rejected()
    config = b'{"a":' * levels + b"1" + b"}" * levels
    body = task_body({**site.marked("deep"), "config": "?"}).replace(b'"?"', config)
    push(site, message(body))
    site.goes_on()
    eventually(lambda: site.rejected() == before + 1, seconds=10, what="the counter")
    assert not (site.folder / "deep").exists()


def test_garbage_in_every_list_is_dropped(site: Site) -> None:
    """Bytes, deep and odd JSON, huge texts and torn messages in the queues and beside them leave the worker as it was."""
    before = site.rejected()
    whole = json.dumps(message(task_body(site.marked("torn")))).encode()
    dice = random.Random(7)
    garbage = [
        b"", b"\x00" * 100, b"\xff\xfe", b"garbage", b"null", b"3", b"[]", b"{}", b"[" * 200_000, b'{"a":' * 200_000,
        b'{"headers": {"task": ["x"]}, "properties": {}, "body": ""}', b'"' + b"x" * 5_000_000 + b'"', pickle.dumps({}),
        *(whole[: dice.randrange(1, len(whole))] for _ in range(20)),
    ]  # fmt: skip
    for queue in QUEUES:
        push(site, *garbage, queue=queue)
    for n, item in enumerate(garbage):
        site.link.hset("fstore:unacked", f"tag-{n}", item)
        site.link.zadd("fstore:unacked_index", {f"tag-{n}": 1})

    site.goes_on()
    expected = before + (len(QUEUES) + 1) * len(garbage)  # those beside the queues when a worker looks for lost ones
    eventually(lambda: site.rejected() == expected, seconds=30, what="the counter")
    assert not (site.folder / "torn").exists()


def test_flipped_bytes_never_reach_celery(site: Site) -> None:
    """Two hundred messages with bytes exchanged at random: only those whose signed parts are whole run, once."""
    before = site.rejected()
    whole = json.dumps(message(task_body(site.marked("flipped")))).encode()
    dice = random.Random(11)
    spoiled = []
    for _ in range(200):
        copy = bytearray(whole)
        for _ in range(dice.randrange(1, 8)):
            copy[dice.randrange(len(copy))] = dice.randrange(256)
        spoiled.append(bytes(copy))
    push(site, *spoiled)

    site.goes_on()
    wrong = sum(not is_sound(item) for item in spoiled)
    assert wrong > 100
    eventually(lambda: site.rejected() == before + wrong, seconds=10, what="the counter")


def is_sound(item: bytes) -> bool:
    try:
        envelope.check(json.loads(item.decode(errors="replace")), "fstore.compute", KeyRing.of(KEY), now=time.time())
    except (ValueError, envelope.Refused):
        return False
    return True


def test_a_body_above_the_limit_is_dropped(site: Site) -> None:
    """A message of 9 MiB is not even decoded."""
    before = site.rejected()
    push(site, message(b" " * (envelope.MAX_BODY_BYTES + (1 << 20))))
    site.goes_on()
    eventually(lambda: site.rejected() == before + 1, seconds=10, what="the counter")


def test_workers_take_orders_with_the_key_only(site: Site) -> None:
    """Remote control without a signature stops no worker; garbage on its channel does not either."""
    before = site.rejected()
    order = {"method": "shutdown", "arguments": {}, "destination": None, "pattern": None, "matcher": None}
    unsigned = message(json.dumps(order).encode(), key=None, headers={"clock": 1, "expires": 0})
    stale = message(json.dumps(order).encode(), key=None, headers={"clock": 1})
    ring, minutes = KeyRing.of(KEY), 60 * 10
    raw = {**stale, "body": json.dumps(order)}
    stale["headers"][signing.SIGNATURE] = signing.signed(
        {**raw, "headers": {}}, signing.CONTROL, ring, now=time.time() - minutes
    )
    for item in (json.dumps(unsigned), json.dumps(stale), "{}", "[" * 200_000, "garbage"):
        site.link.publish("fstore:/0.celery.pidbox", item)

    eventually(lambda: site.rejected() >= before + 4, seconds=10, what="the counter")
    site.goes_on()
    named = site.house.store.resources.broker.workers_by_queue()
    assert all(named[queue] for queue in QUEUES)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"config": {"x": "y" * 300_000}}, "InvalidRequest"),
        ({"symbol": "A" * 300}, "InvalidRequest"),
        ({"config": json.loads('{"a":' * 90 + "1" + "}" * 90)}, None),
        ({"feature": "os:system"}, "FeatureNotRegistered"),
        ({"feature": "builtins:eval"}, "FeatureNotRegistered"),
        ({"raw_data": "/etc/passwd"}, "SourceNotAllowed"),
        ({"raw_data": "{folder}/../../../../etc/passwd"}, "SourceNotAllowed"),
        ({"raw_data": "{folder}/link.parquet"}, "SourceNotAllowed"),
        ({"raw_data": "{folder}/a\0b"}, None),
        ({"raw_data": {"kind": "staged", "path": "../../../etc/passwd"}}, "InvalidRequest"),
        ({"unknown": 1}, "InvalidRequest"),
        ({"format": 2}, "InvalidRequest"),
    ],
)
def test_a_key_holder_is_still_held_to_the_limits(site: Site, change: dict[str, Any], error: str | None) -> None:
    """Signed requests outside the documented limits end with a typed error, at once, and nothing of them is run."""
    link = site.folder / "link.parquet"
    link.unlink(missing_ok=True)
    link.symlink_to("/etc/passwd")
    name = uuid.uuid4().hex
    request = {**site.marked(name), **change}
    if isinstance(request["raw_data"], str):
        request["raw_data"] = request["raw_data"].replace("{folder}", str(site.folder))

    sent = message(task_body(request))
    push(site, sent)

    found = answer(site, sent)
    assert found["status"] == "FAILURE"
    assert error is None or found["result"]["exc_type"] == error
    assert not (site.folder / name).exists()
    assert "root:" not in json.dumps(found)
    site.goes_on()


@pytest.mark.parametrize(
    "symbol", ["'; DROP TABLE manifest; --", "../../x", "%(key)s", "$1", "\\'; SELECT pg_sleep(9) --"]
)
def test_a_symbol_is_only_a_name(site: Site, symbol: str) -> None:
    """SQL and paths in a symbol are kept to the letter, and reach neither a statement nor a path."""
    sent = message(task_body({**site.marked(uuid.uuid4().hex), "symbol": symbol}))
    push(site, sent)

    found = answer(site, sent)["result"]

    database = site.house.store.resources.database
    assert database.query("SELECT symbol FROM manifest WHERE key = %s", [found["key"]]) == [(symbol,)]
    assert (site.house.root / found["path"]).resolve().is_relative_to(site.house.root.resolve())
    site.goes_on()


def test_a_forged_result_runs_nothing_at_a_plain_client(site: Site) -> None:
    """An error in the result backend that names a function is turned into an exception, never called."""
    trap, task = site.folder / "client-executed", str(uuid.uuid4())
    for module, name in (("os", "system"), ("subprocess", "run"), ("builtins", "exec")):
        forged = {"exc_type": name, "exc_module": module, "exc_message": [f"touch {trap}"]}
        site.link.set(
            f"fstore:celery-task-meta-{task}", json.dumps({"status": "FAILURE", "result": forged, "task_id": task})
        )
        code = (
            f"from workers.app import app\ntry: app.AsyncResult({task!r}).get(timeout=10)\n"
            "except Exception as error: print(type(error).__name__)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **site.house.environment, "PYTHONPATH": str(REPOSITORY)},
            cwd=site.folder, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
        assert not trap.exists()


def test_a_trainer_without_the_key_computes_nothing_there(site: Site) -> None:
    """What it sends is dropped; its deadline ends the wait."""
    before = site.rejected()
    with site.house.open(signing_key=STRANGERS_KEY) as stranger, pytest.raises(Exception, match="no result for"):
        stranger.get_or_compute("STRANGER", RAW, {}, sample_features.scaled, timeout=3)
    eventually(lambda: site.rejected() > before, seconds=10, what="the counter")
    site.goes_on()
