"""Signatures are botocore's own, though the key of a day is derived once, and whatever key comes next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import botocore.auth
import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from fstore.s3.options import Keys, S3Options
from fstore.s3.sending import signing
from fstore.s3.sending.signing import EMPTY, Signer

URL = "https://store.example:7480/features/entries/ab/x.parquet"


def test_each_signature_is_botocores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice with one key, with another one, with a token, and on the next day."""
    keys, now = [Keys("A", "one")], datetime(2026, 11, 30, 23, 59, 50, tzinfo=UTC)
    signer = Signer("here", "eu-central-1", lambda: keys[0], patience_s=5)

    class Clock(datetime):
        @classmethod
        def now(cls, _: object = None) -> datetime:  # type: ignore[override]
            return now

    monkeypatch.setattr(signing, "datetime", Clock)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_: now)
    for keys[0], later_s in [
        (Keys("A", "one"), 0), (Keys("A", "one"), 1), (Keys("B", "two"), 2), (Keys("B", "two", "token"), 3),
        (Keys("B", "two", "token"), 20), (Keys("A", "one"), 21),
    ]:  # fmt: skip
        now = datetime(2026, 11, 30, 23, 59, 50, tzinfo=UTC) + timedelta(seconds=later_s)
        signer.forget_keys()
        headers = {"Host": "store.example:7480"}
        signer.sign("GET", URL, headers, EMPTY)
        request = AWSRequest(method="GET", url=URL, data=b"")
        one = keys[0]
        S3SigV4Auth(
            Credentials(one.access_key_id, one.secret_access_key, one.session_token), "s3", "eu-central-1"
        ).add_auth(request)
        assert headers["Authorization"] == request.headers["Authorization"]


@pytest.mark.parametrize(
    ("url", "header"),
    [("https://s.example", "s.example"), ("https://s.example:443", "s.example"), ("http://127.0.0.1:9000", "127.0.0.1:9000"),
     ("http://[::1]:80", "[::1]"), ("https://[::1]:7480", "[::1]:7480")],
)  # fmt: skip
def test_the_host_is_named_as_it_is_signed(url: str, header: str) -> None:
    """Without a port that goes without saying, as every HTTP client names it."""
    origin = S3Options(endpoint_url=url, addressing="path").origin("features")
    assert origin.host_header == header == botocore.auth._host_from_url(f"{origin.url}/x")
