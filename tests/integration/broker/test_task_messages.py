"""Messages that the library writes are Celery's own, though it writes them without Celery."""

from __future__ import annotations

import base64
import json
import re
from contextlib import ExitStack
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Queue

from fstore.broker import ComputeRequest, RawReference, celery_config, compute_queue, time_limits
from fstore.broker.client import short_repr
from fstore.errors import BrokerUnavailable
from tests.conftest import build_house

QUEUE = "fstore:fstore.compute"
REQUEST = ComputeRequest(symbol="ÄÖ'\"", feature="m:f", raw_data=RawReference(kind="caller", path="-"), key="0" * 64)


@pytest.fixture(params=[None, "k" * 20], ids=["unsigned", "signed"])
def house(request, servers, tmp_path):
    with ExitStack() as stack:
        given = {"signing_key": request.param} if request.param else {}
        yield build_house(servers, tmp_path, stack, **given)


def waiting(house, queue: str = QUEUE) -> list[dict[str, Any]]:
    """Return what lies in the queue, the oldest first, and empty it."""
    client = redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"])
    try:
        found = [json.loads(text) for text in reversed(client.lrange(queue, 0, -1))]
        client.delete(queue)
        return found
    finally:
        client.close()


def alike(message: dict[str, Any]) -> Any:
    """Return a message with what differs from one to the next replaced by its form, and its body decoded."""
    shaped = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", json.dumps(message))
    shaped = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", "TIME", shaped)
    shaped = re.sub(r"1\.([0-9a-f]{8})\.\d+\.[0-9a-f]{64}", r"SIGNATURE \1", shaped)
    found = json.loads(shaped)
    found["body"] = json.loads(base64.b64decode(message["body"]))
    found["properties"]["reply_to"] = ""  # where results would go; nobody reads any
    return found


def test_a_message_is_what_celery_would_have_written(house):
    """Field by field, in the same order of places: only ids and times differ."""
    celery = Celery("golden", set_as_current=False)
    celery.conf.update(celery_config(house.settings))
    celery.send_task(
        "fstore.get_or_compute",
        kwargs={"request": REQUEST.wire()},
        kwargsrepr=short_repr(REQUEST.symbol, REQUEST.feature, REQUEST.key),
        argsrepr="()",
        ignore_result=True,
        expires=house.settings.visibility_timeout_s,
    )
    celery.close()
    house.store.resources.broker.send_compute(REQUEST)

    theirs, ours = waiting(house)

    assert alike(ours) == alike(theirs)
    assert ours["headers"]["id"] == ours["headers"]["root_id"] == ours["properties"]["correlation_id"]
    assert ours["headers"]["id"] != theirs["headers"]["id"]


def test_a_message_for_a_features_own_queue_with_its_own_limits_is_celerys_too(house):
    """The limits stand in the headers, the queue where Celery puts it."""
    own = REQUEST.model_copy(update={"queue": "slow", "time_limit_s": 20.0})
    celery = Celery("golden", set_as_current=False)
    celery.conf.update(celery_config(house.settings))
    celery.send_task(
        "fstore.get_or_compute",
        kwargs={"request": own.wire()},
        kwargsrepr=short_repr(own.symbol, own.feature, own.key),
        argsrepr="()",
        ignore_result=True,
        expires=house.settings.visibility_timeout_s,
        queue=Queue(compute_queue("slow")),
        **time_limits(house.settings, 20.0),
    )
    celery.close()
    house.store.resources.broker.send_compute(own)

    theirs, ours = waiting(house, f"{QUEUE}.slow")

    assert ours["headers"]["timelimit"] == [25.0, 20.0]
    assert alike(ours) == alike(theirs)


def test_a_queue_that_is_no_list_is_cleared_away_and_the_message_arrives(house, caplog):
    """Whoever can write to Redis can put anything there; it is said, and nobody has to repair it by hand."""
    client = redis.Redis.from_url(house.environment["FEATURE_STORE_REDIS_URL"])
    client.set(QUEUE, "no list")
    client.close()

    house.store.resources.broker.send_compute(REQUEST)

    assert [message["headers"]["task"] for message in waiting(house)] == ["fstore.get_or_compute"]
    assert "held another kind of value" in caplog.text


def test_a_send_to_a_redis_that_is_away_is_an_error_that_names_the_task(house):
    """Within seconds, and of the kind that callers fall back on."""
    with (
        house.open(redis_url="redis://127.0.0.1:1/0") as store,
        pytest.raises(BrokerUnavailable, match="get_or_compute"),
    ):
        store.resources.broker.send_compute(REQUEST)
