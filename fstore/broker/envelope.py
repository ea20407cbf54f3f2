"""Whether a message from the broker may reach Celery.

One may that is a task or a command of the expected form, and signed if a key is set. Celery trusts what lies in its
queues: text that is no message ends the worker's main process, and what it cannot decode it logs in full. So
messages are judged before Celery sees them. Whoever writes to Redis can still delete messages and fill its memory,
but can neither start anything nor stop a worker.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fstore.broker.signing import CONTROL, REPLIES, SIGNATURE, BadSignature, KeyRing, command_parts, task_parts

MAX_BODY_BYTES = 8 * 1024 * 1024  # of a task's content; the library sends half a megabyte at most
MAX_HEADER_BYTES = 256 * 1024
MAX_MESSAGE_BYTES = MAX_BODY_BYTES * 4 // 3 + MAX_HEADER_BYTES
MAX_CONTAINERS = 100_000  # lists and objects in a content: what takes the time and the memory of decoding
MAX_OUTER_CONTAINERS = 10_000  # the same around it, where the content is one text
MAX_DEPTH = 100  # Celery goes through it by recursion, several levels of its own for each
EVENTS = "celeryev"


class Refused(Exception):
    """A message is not let through; the text is one of few, and holds nothing of the message."""


def _time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


Text = Annotated[str, Field(max_length=4096)]
Name = Annotated[str, Field(min_length=1, max_length=256)]
Time = Annotated[str, Field(max_length=64), AfterValidator(_time)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class _DeliveryInfo(_Strict):
    exchange: Text
    routing_key: Text


class _Properties(_Strict):
    delivery_tag: Name
    delivery_info: _DeliveryInfo
    body_encoding: Literal["base64"]
    correlation_id: Text | None = None
    reply_to: Text | None = None


class _Message(_Strict):
    body: str = Field(max_length=MAX_BODY_BYTES * 4 // 3 + 4)
    content_type: Literal["application/json"] = Field(alias="content-type")
    content_encoding: Literal["utf-8"] = Field(alias="content-encoding")
    headers: dict[str, Any]
    properties: _Properties


class _Headers(_Strict):
    """What Celery's main process reads of the headers of a command, an event or a reply."""

    clock: int | None = None
    expires: float | int | None = None
    compression: None = None  # would be undone before anybody looks at the size


class _TaskHeaders(_Strict):
    """What Celery's main process reads of a task's headers, in protocol 2."""

    compression: None = None
    task: Name
    id: Name
    retries: int | None = Field(None, ge=0)
    timelimit: Annotated[list[float | int | None], Field(min_length=2, max_length=2)] | None = None
    eta: Time | None = None
    expires: Time | None = None
    argsrepr: Text | None = None
    kwargsrepr: Text | None = None
    origin: Text | None = None
    root_id: Name | None = None
    parent_id: Name | None = None
    group: Name | None = None
    group_index: int | None = None
    shadow: Name | None = None
    ignore_result: bool | None = None
    replaced_task_nesting: int | None = None
    stamped_headers: list[str] | None = None
    stamps: dict[str, Any] | None = None


def check_length(text: bytes | str) -> None:
    """Raise ``Refused`` for a text that is too long, or too finely divided, to be decoded at all."""
    if len(text) > MAX_MESSAGE_BYTES:
        raise Refused("it is too long")
    if _containers(text) > MAX_OUTER_CONTAINERS:
        raise Refused("it has too many parts")


def _containers(text: bytes | str) -> int:
    if isinstance(text, str):
        return text.count("[") + text.count("{")
    return text.count(b"[") + text.count(b"{")


def check(message: object, queue: str, ring: KeyRing | None, *, now: float) -> None:
    """Raise ``Refused`` for a message of ``queue`` that must not reach Celery.

    Without a ring only its form counts.
    """
    try:
        found = _Message.model_validate(message)
    except ValidationError as error:
        raise Refused(_fault(error)) from error
    try:
        body = base64.b64decode(found.body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused("its content is not JSON, or is nested too deep") from error
    is_command = queue.endswith(CONTROL) and not queue.endswith(f".{REPLIES}{CONTROL}")
    is_task = not is_command and not queue.startswith(EVENTS) and not queue.endswith(CONTROL)
    _check_headers(_TaskHeaders if is_task else _Headers, found.headers)
    if is_task and body.lstrip()[:1] != b"[":
        raise Refused("not a task")
    if ring is not None and (is_task or is_command):  # before anything of a stranger's is decoded
        parts = task_parts(found.headers, body) if is_task else command_parts(body)
        try:
            ring.check(found.headers.get(SIGNATURE), parts, now=now)
        except BadSignature as error:
            raise Refused(str(error)) from error
    content = _content(body)
    if is_task and not _is_task(content):
        raise Refused("not a task")


def _content(body: bytes) -> object:
    containers = _containers(body)
    if containers > MAX_CONTAINERS:
        raise Refused("its content has too many parts")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused("its content is not JSON, or is nested too deep") from error
    if containers > MAX_DEPTH and _depth(content) > MAX_DEPTH:
        raise Refused("its content is nested too deep")
    return content


def _check_headers(kind: type[_Strict], headers: dict[str, Any]) -> None:
    try:
        kind.model_validate(headers)
    except ValidationError as error:
        raise Refused(_fault(error)) from error


def _is_task(content: object) -> bool:
    """Tell arguments, keyword arguments and what follows on the task from anything else."""
    match content:
        case [list(), dict(), dict()]:
            return True
        case _:
            return False


def _depth(content: object) -> int:
    depth, level = 0, [content]
    while level:
        depth += 1
        inner = [
            list(item.values()) if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)
        ]
        level = [part for item in inner for part in item]
    return depth


def _fault(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"][:2] if isinstance(part, str))
    return f"not a message of the expected form ({place or 'no object'}: {first['type']})"
