"""Signs requests, with botocore: its signature and the places where it finds credentials."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth

from fstore.runtime import deadline
from fstore.runtime.fork_safety import forget_in_children
from fstore.s3.errors import S3Forbidden, S3Unavailable
from fstore.s3.options import Keys, KeySource

EMPTY = hashlib.sha256(b"").hexdigest()
_logger = logging.getLogger("botocore.auth")  # which would log session tokens, whatever the level above


@dataclass(slots=True)
class _Request:
    """What botocore signs: a request as far as it looks at one."""

    method: str
    url: str
    headers: MutableMapping[str, str]
    context: dict[str, Any] = field(default_factory=dict)
    params: None = None
    body: None = None


class _Auth(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """botocore's signature by the server's clock, over a digest that is known already."""

    offset = timedelta()
    derived: dict[tuple[str, str, str], bytes]

    def signature(self, string_to_sign: str, request: _Request) -> str:
        """Sign with the key of the day, which is derived once: what botocore does for each request anew."""
        name = (self.credentials.secret_key, request.context["timestamp"][:8], self._region_name)
        if (key := self.derived.get(name)) is None:
            key = f"AWS4{name[0]}".encode()
            for part in (*name[1:], self._service_name, "aws4_request"):
                key = self._sign(key, part)
            self.derived.clear()  # of yesterday, or of keys that were renewed
            self.derived[name] = key
        signed: str = self._sign(key, string_to_sign, hex=True)
        return signed

    def payload(self, request: _Request) -> str:
        digest: str = request.context["digest"]
        return digest

    def _modify_request_before_signing(self, request: _Request) -> None:
        request.context["timestamp"] = (datetime.now(UTC) + self.offset).strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)


class Signer:
    """Knows who this process is to the store, and what time it is there."""

    def __init__(self, location: str, region: str, keys: KeySource | None, *, patience_s: float) -> None:
        self._location, self._region, self._source, self._patience_s = location, region, keys, patience_s
        self._offset = timedelta()
        self._found: Any = None
        self._derived: dict[tuple[str, str, str], bytes] = {}
        _logger.setLevel(max(logging.INFO, _logger.level))
        self.forget_after_fork()
        forget_in_children(self)

    def forget_after_fork(self) -> None:
        """Make a new lock, and look for credentials anew: botocore keeps a lock with those it found."""
        self._guard = threading.Lock()
        if self._source is None:
            self._found = None

    def sign(self, method: str, url: str, headers: MutableMapping[str, str], digest: str) -> None:
        """Add to a request's headers what proves who sends it; raises ``S3Forbidden`` where nobody is known."""
        auth = _Auth(self._keys(), "s3", self._region)
        auth.offset, auth.derived = self._offset, self._derived
        auth.add_auth(_Request(method, url, headers, {"digest": digest}))

    def forget_keys(self) -> None:
        """Look for credentials anew before the next request: the store says that these have expired."""
        with self._guard:
            self._found = None

    def set_clock(self, date: str | None) -> bool:
        """Take the server's time from its answer; return whether that could be."""
        try:
            told = parsedate_to_datetime(date or "")
        except ValueError:
            return False
        self._offset = told.replace(tzinfo=told.tzinfo or UTC) - datetime.now(UTC)
        return True

    def _keys(self) -> Any:
        found = self._found
        if found is None:
            try:
                found = deadline.bounded(self._find, deadline.remaining(self._patience_s))
            except deadline.Overdue as error:
                raise S3Unavailable(self._location, "credentials could not be found in time") from error
            with self._guard:
                self._found = found
        if isinstance(found, Keys):
            return _Frozen(found.access_key_id, found.secret_access_key, found.session_token)
        if found.refresh_needed() if hasattr(found, "refresh_needed") else False:
            try:
                return deadline.bounded(found.get_frozen_credentials, deadline.remaining(self._patience_s))
            except deadline.Overdue as error:
                raise S3Unavailable(self._location, "credentials could not be renewed in time") from error
            except Exception as error:
                raise S3Unavailable(
                    self._location, f"credentials could not be renewed: {type(error).__name__}"
                ) from error
        return found.get_frozen_credentials()

    def _find(self) -> Any:
        if self._source is not None:
            return self._source()
        from botocore.session import get_session  # noqa: PLC0415 a quarter of a second that only this way costs

        try:
            found = get_session().get_credentials()
        except Exception as error:
            raise S3Forbidden(self._location, f"credentials could not be read: {type(error).__name__}") from error
        if found is None:
            raise S3Forbidden(
                self._location,
                "no credentials were found; set FEATURE_STORE_S3_ACCESS_KEY_ID_FILE and FEATURE_STORE_S3_SECRET_ACCESS_KEY_FILE, "
                "or give this host a role",
            )
        return found


@dataclass(frozen=True, slots=True)
class _Frozen:
    """Keys under the names that botocore's signature knows."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)
