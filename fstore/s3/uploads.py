"""Large objects in parts: all of them there when it returns, or nothing that stays."""

from __future__ import annotations

import http.client
from contextlib import suppress
from xml.etree import ElementTree

from fstore.errors import StorageUnavailable
from fstore.runtime.parallel import each_of
from fstore.s3.errors import ObjectMissing, S3Unavailable
from fstore.s3.sending.answers import raise_if_error
from fstore.s3.sending.requests import Requests, nothing

PARTS_AT_ONCE = 4
MOST_PARTS = 10_000
_COMPLETION_BYTES = 60 * 1_000_000  # a server may take a minute to put the parts together


def put_in_parts(requests: Requests, key: str, data: memoryview) -> None:
    """Upload bytes in parts, each signed by its own SHA-256, and give the upload up on any failure."""
    size = max(requests.options.part_bytes, -(-len(data) // MOST_PARTS))
    upload_id = requests.send("put", "POST", key, _upload_id, query={"uploads": ""}, body=memoryview(b""))
    if not upload_id:
        raise S3Unavailable(requests.location, "an upload was begun without an id")

    def put(number: int) -> str:
        part = data[(number - 1) * size : number * size]
        query = {"partNumber": str(number), "uploadId": upload_id}
        answered = requests.send("part", "PUT", key, nothing, query=query, body=part)
        return answered.get("ETag") or ""

    try:
        numbers = range(1, max(1, -(-len(data) // size)) + 1)
        tags = list(each_of(put, numbers, at_once=PARTS_AT_ONCE))
        _complete(requests, key, upload_id, tags, len(data))
    except BaseException:
        with suppress(StorageUnavailable, ObjectMissing):  # upkeep finds what stays
            requests.send("abort", "DELETE", key, nothing, query={"uploadId": upload_id})
        raise


def _complete(requests: Requests, key: str, upload_id: str, tags: list[str], size: int) -> None:
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><ETag>{_escaped(tag)}</ETag></Part>"
        for number, tag in enumerate(tags, 1)
    )
    body = f'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{parts}</CompleteMultipartUpload>'

    def read(response: http.client.HTTPResponse, *_: object) -> None:
        raise_if_error(response.read(), response.headers)

    try:
        requests.send(
            "put", "POST", key, read,
            query={"uploadId": upload_id}, body=memoryview(body.encode()), call=requests.new_call(_COMPLETION_BYTES),
        )  # fmt: skip
    except ObjectMissing as error:
        # Asked again after an answer that was lost: the upload is no more, for it became the object, whose name is new.
        with suppress(ObjectMissing):
            if requests.send("head", "HEAD", key, _size) == size:
                return
        raise S3Unavailable(requests.location, "an upload is gone before it was finished") from error


def _upload_id(response: http.client.HTTPResponse, *_: object) -> str:
    body = response.read()
    raise_if_error(body, response.headers)
    try:
        return next((e.text or "" for e in ElementTree.fromstring(body).iter() if e.tag.endswith("UploadId")), "")  # noqa: S314 see answers
    except ElementTree.ParseError:
        return ""


def _size(response: http.client.HTTPResponse, *_: object) -> int:
    size = int(response.headers.get("Content-Length") or 0)
    response.read()
    return size


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
