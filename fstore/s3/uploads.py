"""Large objects in parts: all of them there when it returns, or nothing that stays."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Mapping
from contextlib import suppress
from xml.etree import ElementTree

from fstore.errors import StorageUnavailable
from fstore.runtime.parallel import each_of
from fstore.s3.errors import ObjectMissing, S3Unavailable
from fstore.s3.objects import told_size
from fstore.s3.sending.answers import raise_if_error
from fstore.s3.sending.requests import Requests, nothing

PARTS_AT_ONCE = 4
MOST_PARTS = 10_000
COPIED_AT_ONCE = 1 << 30
_COMPLETION_BYTES = 60 * 1_000_000  # a server may take a minute to put the parts together


def put_in_parts(requests: Requests, key: str, data: memoryview) -> None:
    """Upload bytes in parts, each signed by its own SHA-256, and give the upload up on any failure."""
    size = max(requests.options.part_bytes, -(-len(data) // MOST_PARTS))

    def put(number: int, upload_id: str) -> str:
        part = data[(number - 1) * size : number * size]
        query = {"partNumber": str(number), "uploadId": upload_id}
        answered = requests.send("part", "PUT", key, nothing, query=query, body=part)
        return answered.get("ETag") or ""

    _in_parts(requests, key, put, len(data), size)


def copy_in_parts(
    requests: Requests, key: str, headers: Mapping[str, str], size_bytes: int, check: Callable[[], None]
) -> None:
    """Have the store copy what is too large for one copy; ``headers`` say what, and of which version.

    ``check`` raises where that is no longer the version that is there: some servers heed no condition on a part.
    """
    size = max(COPIED_AT_ONCE, -(-size_bytes // MOST_PARTS))

    def copy(number: int, upload_id: str) -> str:
        offset = (number - 1) * size
        end = min(offset + size, size_bytes)
        return requests.send(
            "copy", "PUT", key, _etag,
            query={"partNumber": str(number), "uploadId": upload_id},
            headers={**headers, "x-amz-copy-source-range": f"bytes={offset}-{end - 1}"},
            call=requests.new_call(_COMPLETION_BYTES),
        )  # fmt: skip

    _in_parts(requests, key, copy, size_bytes, size, check)


def _in_parts(
    requests: Requests, key: str, put: Callable[[int, str], str], total: int, size: int,
    check: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    upload_id = requests.send("put", "POST", key, _upload_id, query={"uploads": ""}, body=memoryview(b""))
    if not upload_id:
        raise S3Unavailable(requests.location, "an upload was begun without an id")
    try:
        numbers = range(1, max(1, -(-total // size)) + 1)
        tags = list(each_of(lambda number: put(number, upload_id), numbers, at_once=PARTS_AT_ONCE))
        check()
        _complete(requests, key, upload_id, tags, total)
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
    return _told(response, "UploadId")


def _etag(response: http.client.HTTPResponse, *_: object) -> str:
    return _told(response, "ETag")


def _told(response: http.client.HTTPResponse, name: str) -> str:
    body = response.read()
    raise_if_error(body, response.headers)
    try:
        return next((e.text or "" for e in ElementTree.fromstring(body).iter() if e.tag.endswith(name)), "")  # noqa: S314 see answers
    except ElementTree.ParseError:
        return ""


def _size(response: http.client.HTTPResponse, *_: object) -> int:
    size = told_size(response)
    response.read()
    return size


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
