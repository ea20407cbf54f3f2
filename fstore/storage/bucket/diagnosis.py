"""What an operator should know of a bucket: each right is tried by using it, below ``probe``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from xml.etree import ElementTree

from fstore.errors import StorageUnavailable
from fstore.s3 import ObjectChanged, ObjectMissing, S3Client, S3Forbidden, Span
from fstore.storage import layout
from fstore.storage.bucket.place import Place
from fstore.storage.interface import Condition

MOST_SKEW_S = 60.0
MOST_PAGES = 20  # of one probe each: others may lie there
PAGE = "docs/object-stores.md"
_WRONG_DIGEST = "0" * 64  # of no bytes
_UNANSWERED = (StorageUnavailable, ObjectMissing, ObjectChanged)


def diagnose(place: Place) -> Iterator[Condition]:
    """Put, list, read, read in part and delete a probe, then ask how the bucket is set up; never raises."""
    key = place.key(f"{layout.PROBES}/{layout.new_token()}")
    began = time.monotonic()
    try:
        place.client.put(key, b"probe")
        listed = [found for page in place.client.list(key) for found in page]
        whole = place.client.get(key).data.to_pybytes()
        part = place.client.get(key, Span(1, 3)).data.to_pybytes()
    except S3Forbidden as error:
        yield from _without_rights(place, error)
        return
    except _UNANSWERED as error:
        yield Condition("fault", _told(error), f"check address, credentials, bucket and rights ({PAGE})")
        with suppress(*_UNANSWERED, ElementTree.ParseError):  # which may be why, for what is locked is put otherwise
            yield from _locks(place.client)
        return
    finally:
        with suppress(StorageUnavailable):
            place.client.delete(key)
    took_ms = (time.monotonic() - began) * 1000 / 4
    if not listed or (whole, part) != (b"probe", b"rob"):
        yield Condition(
            "fault",
            f"{place.location} does not show at once what was put there",
            f"use a store that lists and reads what it acknowledged ({PAGE})",
        )
        return
    yield Condition("ok", f"{place.location} can be listed, read and written, {took_ms:.0f} ms a request")
    skew_s = listed[0].modified_ns / 1e9 - time.time()
    if abs(skew_s) > MOST_SKEW_S:
        yield Condition("warning", f"its clock is {skew_s:+.0f} s from this host's", "set both by NTP")
    yield from _deletions(place, key)
    yield from _what_is_missing(place)
    yield from _signatures(place, key)
    yield from _conditions(place, key)
    yield from _contents(place, key)
    yield from _order(place, key)
    for look in (_versions, _locks, _rules):
        with suppress(StorageUnavailable, ElementTree.ParseError):  # a right that not every role has
            yield from look(place.client)
    yield from _uploads(place)


def _without_rights(place: Place, error: S3Forbidden) -> Iterator[Condition]:
    """Tell what a role has that may not write a probe: trainers and workers have no need to."""
    try:
        place.client.get(place.key(layout.STORE_ID))
    except _UNANSWERED:
        yield Condition("fault", str(error), "check credentials and rights; ops/s3 has what each role needs")
    else:
        yield Condition(
            "ok", f"{place.location} can be read; these credentials write no probe, as fits a trainer or a worker"
        )
        yield from _what_is_missing(place)


def _what_is_missing(place: Place) -> Iterator[Condition]:
    """Ask for what was never there: stores tell that it is missing only to those who may list the bucket."""
    try:
        place.client.get(place.key(f"{layout.ENTRIES}/00/{layout.new_token()}"))
    except S3Forbidden:
        yield Condition(
            "warning",
            "it answers 403 for what is not there, so that a lost entry looks like a refusal and is computed each time",
            "allow s3:ListBucket without a prefix, as the statement TellMissing of each policy in ops/s3 does",
        )
    except _UNANSWERED:
        return


def _deletions(place: Place, key: str) -> Iterator[Condition]:
    try:
        place.client.delete(key)
    except S3Forbidden:
        yield Condition(
            "fault",
            "these credentials may write and not delete: nothing that is given up is ever freed",
            "allow s3:DeleteObject below the prefix, as ops/s3/upkeep.json does",
        )
    except StorageUnavailable:
        return


def _signatures(place: Place, key: str) -> Iterator[Condition]:
    """Send a body that is not the one that was signed.

    Whoever takes it would also take what broke on the way.
    """
    try:
        place.client.put(key, b"not what was signed", digest=_WRONG_DIGEST)
    except StorageUnavailable:
        yield Condition("ok", "it refuses a body that is not the one that was signed")
        return
    finally:
        with suppress(StorageUnavailable):
            place.client.delete(key)
    if place.read_back:
        yield Condition("ok", "it takes a body that is not the one that was signed; each file is read back")
    else:
        yield Condition(
            "warning",
            "it takes a body that is not the one that was signed",
            "set FEATURE_STORE_S3_READ_BACK=true, or use a store that checks",
        )


def _conditions(place: Place, key: str) -> Iterator[Condition]:
    """Tell whether the first of several wins; fstore relies on it nowhere but to create a store."""
    try:
        place.client.put(key, b"first")
        place.client.put(key, b"second", only_new=True)
    except ObjectChanged:
        yield Condition("ok", "it honours If-None-Match")
    except StorageUnavailable:
        return
    else:
        yield Condition(
            "ok", "it ignores If-None-Match, which costs nothing but a clear error when two create one store"
        )
    finally:
        with suppress(StorageUnavailable):
            place.client.delete(key)


def _contents(place: Place, key: str) -> Iterator[Condition]:
    """Put two contents of one size within a moment.

    Whoever reads raw data by address has to see that they differ.
    """
    try:
        seen = []
        for content in (b"one", b"two"):
            place.client.put(key, content)
            seen.append(place.client.get(key).facts)
    except _UNANSWERED:
        return
    finally:
        with suppress(StorageUnavailable):
            place.client.delete(key)
    if len({(one.etag, one.version_id) for one in seen}) == 2 and not seen[0].etag.startswith("W/"):
        yield Condition("ok", "another content of an object has another ETag")
    else:
        yield Condition(
            "fault",
            "it gives two contents of one object the same ETag, or a weak one, so that raw data that change go unseen",
            f"keep raw data elsewhere, or use a store whose ETags are strong ({PAGE}); entries are not concerned",
        )


def _order(place: Place, key: str) -> Iterator[Condition]:
    """List two probes in pages of one."""
    keys = sorted([key, place.key(f"{layout.PROBES}/{layout.new_token()}")])
    try:
        for one in keys:
            place.client.put(one, b"probe")
        pages = place.client.list(place.key(f"{layout.PROBES}/"), page_size=1)
        found = [listed.key for page in islice(pages, MOST_PAGES) for listed in page]
    except S3Forbidden:
        return
    except _UNANSWERED as error:
        yield Condition("fault", str(error), f"use a store that lists in order, page by page ({PAGE})")
        return
    finally:
        for one in keys:
            with suppress(StorageUnavailable):
                place.client.delete(one)
    if len(found) < MOST_PAGES and not set(keys) <= set(found):
        yield Condition(
            "fault", "its listings leave objects out between two pages", f"use a store that lists all there is ({PAGE})"
        )
    else:
        yield Condition("ok", "it lists in order, page by page")


def _versions(client: S3Client) -> Iterator[Condition]:
    if _text(client.bucket_document("versioning"), "Status") == "Enabled" and not _has_rule(
        client, "NoncurrentVersionExpiration"
    ):
        yield Condition(
            "warning",
            "the bucket keeps versions, so that what is deleted frees nothing",
            "let old versions expire (ops/s3/lifecycle.json), or use a bucket without versions",
        )


def _locks(client: S3Client) -> Iterator[Condition]:
    if _text(client.bucket_document("object-lock"), "Mode"):
        yield Condition("fault", "the bucket locks objects: nothing can be deleted", "use a bucket without a lock")


def _rules(client: S3Client) -> Iterator[Condition]:
    if _has_rule(client, "Expiration"):
        yield Condition(
            "fault",
            "a lifecycle rule of the bucket expires objects, entries perhaps",
            "take it out: fstore itself gives up what nobody uses",
        )
    if not _has_rule(client, "AbortIncompleteMultipartUpload"):
        yield Condition(
            "ok", "no lifecycle rule aborts unfinished uploads; 'fstore gc' does (ops/s3/lifecycle.json for both)"
        )


def _uploads(place: Place) -> Iterator[Condition]:
    with suppress(StorageUnavailable):
        unfinished = sum(1 for _ in place.client.list_uploads(place.key(layout.ENTRIES)))
        if unfinished:
            yield Condition("ok", f"{unfinished} uploads are unfinished; 'fstore gc' ends those that are old")


def _has_rule(client: S3Client, name: str) -> bool:
    document = client.bucket_document("lifecycle")
    if document is None:
        return False
    rules = (one for one in ElementTree.fromstring(document).iter() if _name(one) == "Rule")  # noqa: S314 no entities
    return any(_name(part) == name for rule in rules for part in rule if _text_of(rule, "Status") == "Enabled")


def _text(document: bytes | None, name: str) -> str:
    return "" if document is None else _text_of(ElementTree.fromstring(document), name)  # noqa: S314 no entities


def _text_of(root: ElementTree.Element, name: str) -> str:
    return next((one.text or "" for one in root.iter() if _name(one) == name), "")


def _name(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, StorageUnavailable) else f"a probe was put and is not there: {error}"
