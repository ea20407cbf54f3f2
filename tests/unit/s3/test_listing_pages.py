"""Pages of listings: both ways of reading one say the same, and what does not go on is a fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count

import pytest

from fstore.s3 import S3Unavailable
from fstore.s3.listing import (
    MOST_EMPTY_PAGES,
    Page,
    _any_page,
    _plain_page,
    all_uploads,
    in_order,
    moment_ns,
    parse_page,
)

STAMP = "2026-03-04T05:06:07.089Z"
ETAG = "&quot;d41d8cd98f00b204e9800998ecf8427e&quot;"


def contents(key: str, size: str = "5", *, fields: str = "Key LastModified ETag Size") -> str:
    values = {"Key": key, "LastModified": STAMP, "ETag": ETAG, "Size": size}
    return "<Contents>" + "".join(f"<{name}>{values[name]}</{name}>" for name in fields.split()) + "</Contents>"


def page(
    *blocks: str, more: str = "<IsTruncated>false</IsTruncated>", namespace: bool = True, about: str = ""
) -> bytes:
    space = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"' if namespace else ""
    return f'<?xml version="1.0"?><ListBucketResult{space}><Name>b</Name>{about}{more}{"".join(blocks)}</ListBucketResult>'.encode()


GOES_ON = "<IsTruncated>true</IsTruncated><NextContinuationToken>abc/+=</NextContinuationToken>"
QUOTED = "<EncodingType>url</EncodingType>"


@pytest.mark.parametrize(
    ("body", "is_plain"),
    [
        (page(), True),
        (page(contents("a"), contents("b")), True),
        (page(contents("a"), namespace=False), True),
        (page(contents("a"), more=GOES_ON), True),
        (page(contents("a%2Fb+c"), about=QUOTED), True),
        (page(contents("a%2Fb+c")), True),
        (page(contents("a&amp;b")), False),
        (page(contents("a", fields="Key Size ETag LastModified")), False),
        (
            page(
                contents("a", fields="Key LastModified ETag Size") + contents("b", fields="Size Key LastModified ETag")
            ),
            False,
        ),
        (page(contents("a"), more=GOES_ON.replace("abc", "a&lt;b")), False),
    ],
)
def test_both_ways_read_the_same(body: bytes, is_plain: bool) -> None:
    """The quick one reads what it knows to the letter, and leaves the rest."""
    quick, slow = _plain_page(body), _any_page(body, "s3://b")
    assert (quick is not None) == is_plain
    assert quick in (None, slow)
    assert parse_page(body, "s3://b") == slow


def test_a_page_says_what_there_is() -> None:
    """Names, sizes, moments by the server's clock to the millisecond."""
    (found,), token = parse_page(page(contents("a%2Fb+c"), more=GOES_ON, about=QUOTED), "s3://b")
    assert (found.key, found.size_bytes, token) == ("a/b c", 5, "abc/+=")
    assert found.modified_ns == moment_ns(STAMP) == 1772600767_089_000_000
    assert found.etag == '"d41d8cd98f00b204e9800998ecf8427e"'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Welcome</html>",
        b"<Error><Code>SlowDown</Code></Error>",
        page(contents("a"), more="<IsTruncated>true</IsTruncated>"),
        page(contents("a", size="many")),
        page(contents("a", fields="Key Size")),
        page(contents("a"))[:-30],
    ],
)
def test_what_is_no_page_is_a_fault(body: bytes) -> None:
    """Taken for a short one, it would hide files."""
    with pytest.raises(S3Unavailable, match="listing"):
        parse_page(body, "s3://b")


@pytest.mark.parametrize("keys", [["a", "a"], ["b", "a"], ["a", "b", "b"]])
def test_a_listing_goes_forward(keys: list[str]) -> None:
    """A page that comes again, or keys in no order, end it."""
    pages = iter([parse_page(page(contents(key)), "s3://b") for key in keys])
    with pytest.raises(S3Unavailable, match="order"):
        list(in_order(pages, "s3://b"))
    assert list(in_order(iter([Page([], None)]), "s3://b")) == [[]]


def test_pages_that_show_nothing_are_passed_over_up_to_a_bound() -> None:
    """Some stores pass over what was deleted; a listing that only goes on would hold a collection for ever."""
    (found,), _ = parse_page(page(contents("a")), "s3://b")
    nothing = Page([], "on")
    assert sum(map(len, in_order(iter([nothing] * MOST_EMPTY_PAGES + [Page([found], None)]), "s3://b"))) == 1
    with pytest.raises(S3Unavailable, match="goes on"):
        list(in_order(iter([nothing] * (MOST_EMPTY_PAGES + 1)), "s3://b"))


def uploads(names: str, *, after: str | None = None) -> bytes:
    """Return a page of unfinished uploads, one a letter, and where it goes on."""
    more = "" if after is None else f"<NextKeyMarker>{after}</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>"
    listed = "".join(
        f"<Upload><Key>{name}</Key><UploadId>1</UploadId><Initiated>{STAMP}</Initiated></Upload>" for name in names
    )
    goes_on = f"<IsTruncated>{str(after is not None).lower()}</IsTruncated>"
    return f"<ListMultipartUploadsResult>{goes_on}{more}{listed}</ListMultipartUploadsResult>".encode()


def in_turn(*pages: bytes | Iterator[bytes]) -> Callable[[Mapping[str, str]], bytes]:
    """Answer with one page after the other, whatever is asked for."""
    following = iter([page for part in pages for page in ([part] if isinstance(part, bytes) else part)])
    return lambda _: next(following)


def test_unfinished_uploads_are_listed_to_the_end() -> None:
    """Page by page, by the markers of the one before; pages that show nothing are passed over."""
    asked: list[Mapping[str, str]] = []
    empty = [uploads("", after=f"b{n}") for n in range(MOST_EMPTY_PAGES)]
    answer = in_turn(uploads("ab", after="b"), iter(empty), uploads("c"))

    def ask(markers: Mapping[str, str]) -> bytes:
        asked.append(markers)
        return answer(markers)

    assert [one.key for one in all_uploads(ask, "s3://b")] == ["a", "b", "c"]
    assert asked[:2] == [{}, {"key-marker": "b", "upload-id-marker": "1"}]
    assert len(asked) == MOST_EMPTY_PAGES + 2


@pytest.mark.parametrize(
    "page_of",
    [
        lambda n: uploads("", after=f"m{n}"),
        lambda n: uploads("a", after="a"),
        lambda n: uploads("a", after=f"m{n}"),
        lambda n: uploads("ab"[n % 2], after="ab"[n % 2]),
    ],
    ids=["nothing", "itself", "one page under new markers", "two pages in turn"],
)
def test_a_listing_of_uploads_that_never_ends_is_a_fault(page_of: Callable[[int], bytes]) -> None:
    """It would hold a collection for ever."""
    given = count()

    def ask(_: Mapping[str, str]) -> bytes:
        number = next(given)
        assert number < 2 * MOST_EMPTY_PAGES, "asked without a bound"
        return page_of(number)

    with pytest.raises(S3Unavailable, match="does not go on"):
        list(all_uploads(ask, "s3://b"))
