"""Pages of listings: what a bucket holds, and which uploads nobody finished."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from fstore.s3.errors import S3Unavailable

_CONTENTS = re.compile(
    rb"\s*<Key>([^<]+)</Key>\s*<LastModified>([^<]+)</LastModified>\s*<ETag>([^<]*)</ETag>\s*<Size>(\d+)</Size>"
)
_TOKEN = re.compile(rb"<NextContinuationToken>([^<]+)</NextContinuationToken>")

MOST_EMPTY_PAGES = (
    100  # in a row: some stores pass over what was deleted, and one that never ends would hold upkeep for ever
)


class Listed(NamedTuple):
    """An object as a listing shows it; ``modified_ns`` by the server's clock."""

    key: str
    size_bytes: int
    modified_ns: int
    etag: str


class Upload(NamedTuple):
    """An upload in parts that is not finished."""

    key: str
    upload_id: str
    began_ns: int


class Page(NamedTuple):
    """Some objects in order, and the token for what follows; None at the end."""

    objects: list[Listed]
    token: str | None


def parse_page(body: bytes, location: str) -> Page:
    """Read one page of ``ListObjectsV2``; raises ``S3Unavailable`` for what is none."""
    return _plain_page(body) or _any_page(body, location)


def _plain_page(body: bytes) -> Page | None:
    """Read a page of the form that AWS sends; None for any other, which a parser of XML has to make out.

    A collection reads a page for each thousand entries, and a tree of each would be most of its work.
    """
    head, *blocks = body.split(b"<Contents>")
    about = head + blocks[-1] if blocks else head
    is_whole = b"<ListBucketResult" in head and body.rstrip().endswith(b"</ListBucketResult>")
    if not is_whole or about.count(b"<IsTruncated>") != 1 or b"<!" in head:
        return None
    objects = []
    quoted = b"<EncodingType>url</EncodingType>" in about
    for block in blocks:
        found = _CONTENTS.match(block)
        if found is None or b"&" in found[1]:
            return None
        key, modified, etag, size = found.groups()
        try:
            text, when = key.decode(), moment_ns(modified.decode())
        except (ValueError, OverflowError):
            return None
        objects.append(
            Listed(_key(text, quoted=quoted), int(size), when, etag.replace(b"&quot;", b'"').decode("latin-1"))
        )
    if b"<IsTruncated>false</IsTruncated>" in about:
        return Page(objects, None)
    token = _TOKEN.search(about)
    if token is None or b"&" in token[1] or b"<IsTruncated>true</IsTruncated>" not in about:
        return None
    return Page(objects, token[1].decode())


def _any_page(body: bytes, location: str) -> Page:
    root = _root(body, "ListBucketResult", location)
    space = root.tag.rpartition("}")[0]
    space = f"{space}}}" if space else ""
    quoted = root.findtext(f"{space}EncodingType") == "url"
    names = [f"{space}{name}" for name in ("Key", "Size", "LastModified", "ETag")]
    objects = []
    try:
        for item in root.iterfind(f"{space}Contents"):
            key, size, modified, etag = (item.findtext(name) for name in names)
            objects.append(
                Listed(_key(key or "", quoted=quoted), int(size or ""), moment_ns(modified or ""), etag or "")
            )
    except (ValueError, OverflowError) as error:
        raise S3Unavailable(location, f"a listing that cannot be read: {error}") from error
    if root.findtext(f"{space}IsTruncated") != "true":
        return Page(objects, None)
    token = root.findtext(f"{space}NextContinuationToken")
    if not token:
        raise S3Unavailable(location, "a listing says that there is more, but not where it goes on")
    return Page(objects, token)


def in_order(pages: Iterator[Page], location: str) -> Iterator[list[Listed]]:
    """Pass pages on; raises ``S3Unavailable`` where a listing does not go on.

    What it leaves out would count as gone.
    """
    last, empty = "", 0
    for page in pages:
        empty = 0 if page.objects else empty + 1
        if empty > MOST_EMPTY_PAGES:
            raise S3Unavailable(location, f"a listing goes on, and has shown nothing for {empty} pages")
        for found in page.objects:
            if found.key <= last:
                raise S3Unavailable(location, "a listing is not in order of its keys; such buckets are not supported")
            last = found.key
        yield page.objects


def parse_uploads(body: bytes, location: str) -> tuple[list[Upload], dict[str, str] | None]:
    """Read one page of ``ListMultipartUploads`` and what to ask for next."""
    root = _root(body, "ListMultipartUploadsResult", location)
    space = root.tag.rpartition("}")[0]
    space = f"{space}}}" if space else ""
    quoted = root.findtext(f"{space}EncodingType") == "url"
    try:
        found = [
            Upload(
                _key(item.findtext(f"{space}Key") or "", quoted=quoted),
                item.findtext(f"{space}UploadId") or "",
                moment_ns(item.findtext(f"{space}Initiated") or ""),
            )
            for item in root.iterfind(f"{space}Upload")
        ]
    except (ValueError, OverflowError) as error:
        raise S3Unavailable(location, f"a listing that cannot be read: {error}") from error
    if root.findtext(f"{space}IsTruncated") != "true":
        return found, None
    markers = [root.findtext(f"{space}Next{name}") or "" for name in ("KeyMarker", "UploadIdMarker")]
    if not markers[0]:
        raise S3Unavailable(location, "a listing says that there is more, but not where it goes on")
    return found, {"key-marker": _key(markers[0], quoted=quoted), "upload-id-marker": markers[1]}


def all_uploads(ask: Callable[[Mapping[str, str]], bytes], location: str) -> Iterator[Upload]:
    """Give the uploads of all pages; raises ``S3Unavailable`` where they do not go on."""
    markers: dict[str, str] | None = {}
    begun: set[Upload] = set()  # what pages began with
    empty = 0
    while markers is not None:
        asked = markers
        found, markers = parse_uploads(ask(asked), location)
        empty = 0 if found else empty + 1
        if markers == asked or empty > MOST_EMPTY_PAGES or not begun.isdisjoint(found[:1]):
            raise S3Unavailable(location, "a listing of unfinished uploads does not go on")
        begun.update(found[:1])
        yield from found


def moment_ns(text: str) -> int:
    """Return a moment as XML tells it; raises ``ValueError``."""
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * 1_000_000_000 + moment.microsecond * 1000


def _root(body: bytes, name: str, location: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 expat expands no external entity
    except ElementTree.ParseError as error:
        raise S3Unavailable(location, "a listing that is no XML; is this an object store?") from error
    if root.tag.rpartition("}")[2] != name:
        raise S3Unavailable(location, "an answer that is no listing; is this an object store?")
    return root


def _key(text: str, *, quoted: bool) -> str:
    return unquote_plus(text) if quoted and ("%" in text or "+" in text) else text
