"""What an answer that is no success means.

Something about the object, about who asked, or about the store.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from enum import Enum, auto
from xml.etree import ElementTree

from fstore.errors import StorageFull
from fstore.s3.errors import ObjectChanged, ObjectMissing, S3Forbidden, S3Unavailable

LONGEST_ERROR = 64 * 1024
_TRY_AGAIN_STATUS = {408, 429, 500, 502, 503, 504}
_TRY_AGAIN = {
    "ConditionalRequestConflict", "OperationAborted", "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout",
    "XAmzContentSHA256Mismatch", "BadDigest", "IncompleteBody", "SignatureDoesNotMatchBody",
}  # fmt: skip
_EXPIRED = {
    "ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "InvalidToken", "InvalidAccessKeyId",
    "SignatureDoesNotMatch",  # of a key whose files were read between the writing of its id and that of its secret
}  # fmt: skip
_SKEWED = {"RequestTimeTooSkewed", "RequestExpired"}
_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "AccountProblem"}
_MISSING = {"NoSuchKey", "NoSuchVersion", "NoSuchUpload"}
_ELSEWHERE = (
    "the bucket is served elsewhere; set FEATURE_STORE_S3_REGION, or FEATURE_STORE_S3_ENDPOINT_URL, to where it is"
)
_ADVICE = {
    "SignatureDoesNotMatch": "the secret key is not that of this access key",
    "InvalidAccessKeyId": "the access key is unknown there",
    "AccessDenied": "these credentials may not do that; see ops/s3 for what each role needs",
    "RequestTimeTooSkewed": "this host's clock and the store's differ; set both by NTP",
    "RequestExpired": "this host's clock and the store's differ; set both by NTP",
    "TemporaryRedirect": _ELSEWHERE,
    "PermanentRedirect": _ELSEWHERE,
    "NoSuchBucket": "there is no such bucket; make it, or mend FEATURE_STORE_PATH",
}


class Meaning(Enum):
    """What to do with a fault."""

    TRY_AGAIN = auto()
    RENEW_KEYS = auto()
    SET_CLOCK = auto()
    FINAL = auto()


@dataclass(eq=False)
class Refusal(Exception):
    """An answer other than the one asked for: its status, the code in its body, and when to come again."""

    status: int
    code: str
    region: str = ""
    date: str | None = None
    retry_after_s: float | None = None

    @property
    def meaning(self) -> Meaning:
        """Tell what to do."""
        if self.code in _EXPIRED or (not self.code and self.status in {400, 401, 403}):  # HEAD is told no code
            return Meaning.RENEW_KEYS
        if self.code in _SKEWED:
            return Meaning.SET_CLOCK
        if self.code in _FULL:
            return Meaning.FINAL
        if self.code in _TRY_AGAIN or self.status in _TRY_AGAIN_STATUS:
            return Meaning.TRY_AGAIN
        return Meaning.FINAL

    def as_error(self, key: str, location: str) -> Exception:
        """Return the error of a fault that is final.

        Missing is only what the store says is missing, by its code: a 404 of a proxy, of
        a load balancer or for a bucket says nothing about an object.
        """
        if self.code in _MISSING:
            return ObjectMissing(key)
        if self.status in {304, 412} or self.code == "PreconditionFailed":
            return ObjectChanged(key, "another version is there")
        told = f"the store answered {self.status}" + (f" {self.code}" if self.code else "")
        if self.region:
            return S3Unavailable(
                location, f"{told}: the bucket is in region {self.region}; set FEATURE_STORE_S3_REGION to it"
            )
        advice = _ADVICE.get(self.code) or (_ELSEWHERE if 300 <= self.status < 400 else "")
        told += f": {advice}" if advice else ""
        if self.status == 507 or self.code in _FULL:
            return StorageFull(location, told)
        kind: type[S3Unavailable] = S3Forbidden if self.status in {401, 403} else S3Unavailable
        error = kind(location, told)
        error.status, error.code = self.status, self.code
        return error


def refusal_of(response: http.client.HTTPResponse) -> Refusal:
    """Read an answer that is no success; raises what a broken connection raises."""
    body = response.read(LONGEST_ERROR)
    return parse_refusal(response.status, body, response.headers)


def parse_refusal(status: int, body: bytes, headers: http.client.HTTPMessage) -> Refusal:
    """Make out what a body says; one that is no XML says nothing."""
    code = region = ""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 expat expands no external entity, and the size is bounded
        code = _text(root, "Code")
        if code in {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}:
            region = _text(root, "Region")
    except ElementTree.ParseError:
        pass
    if status in {301, 307, 400}:
        region = region or (headers.get("x-amz-bucket-region") or "" if status != 400 else "")
    return Refusal(status, code, _plain(region), headers.get("Date"), _seconds(headers.get("Retry-After")))


def raise_if_error(body: bytes, headers: http.client.HTTPMessage) -> None:
    """Find the ``<Error>`` in a body that came with status 200, which is a fault of the server."""
    if b"<Error" in body[:1024]:
        found = parse_refusal(500, body, headers)
        raise Refusal(500, found.code, "", found.date, found.retry_after_s)


def _text(root: ElementTree.Element, name: str) -> str:
    for element in root.iter():
        if element.tag.rpartition("}")[2] == name:
            return _plain(element.text or "")
    return ""


def _plain(text: str) -> str:
    return text[:64] if text.replace("-", "").replace("_", "").replace(".", "").isalnum() and text.isascii() else ""


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text or ""))
    except ValueError:
        return None
