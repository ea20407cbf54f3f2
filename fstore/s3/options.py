"""How a bucket is reached, and by whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from fstore.errors import ConfigurationError

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Keys:
    """An access key; what is secret of it is in no representation."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


KeySource = Callable[[], Keys]
"""Gives the present keys; asked again when the store says that they have expired, so it may read files anew."""


@dataclass(frozen=True, slots=True)
class S3Options:
    """Where a bucket's server is and how it is spoken to."""

    endpoint_url: str = ""
    """Empty for AWS."""
    region: str = "us-east-1"
    addressing: Literal["auto", "path", "virtual"] = "auto"
    """``auto``: the bucket's name is part of the host name on AWS, of the path elsewhere."""
    ca_file: Path | None = None
    allow_http: bool = False
    """Without TLS also to other hosts than this one."""
    keys: KeySource | None = field(default=None, repr=False)
    """None: botocore finds them (environment, profile, SSO, web identity, container, instance)."""
    expected_bucket_owner: str = ""
    timeout_s: float = 10.0
    """How long a call without a deadline of its own may take, besides a second for each megabyte."""
    connections: int = 16
    part_bytes: int = 16 * MIB

    def origin(self, bucket: str) -> Origin:
        """Return the server and the path of a bucket; raises ``ConfigurationError``."""
        url = self.endpoint_url or f"https://s3.{self.region}.amazonaws.com"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ConfigurationError([f"s3_endpoint_url: {error}"]) from error
        bare = not (parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"))
        if parts.scheme not in {"http", "https"} or not host or not bare:
            raise ConfigurationError(
                ["s3_endpoint_url: expected an address such as https://host:port, and nothing else"]
            )
        if parts.scheme == "http" and not self.allow_http and not is_this_host(host):
            raise ConfigurationError(
                [f"s3_endpoint_url: http to {host} sends data in clear; use https, or set s3_allow_http=true"]
            )
        in_host = self.addressing == "virtual" or (
            self.addressing == "auto" and "." not in bucket and host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        )
        return Origin(parts.scheme, f"{bucket}.{host}" if in_host else host, port, "" if in_host else f"/{bucket}")


@dataclass(frozen=True, slots=True)
class Origin:
    """A bucket's server, and what its objects' paths begin with there."""

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def url(self) -> str:
        """The server's address."""
        return f"{self.scheme}://{self._name}" + (f":{self.port}" if self.port else "")

    @property
    def host_header(self) -> str:
        """How requests name the server, which is signed: without a port that goes without saying."""
        usual = {"http": 80, "https": 443}[self.scheme]
        return f"{self._name}:{self.port}" if self.port and self.port != usual else self._name

    @property
    def _name(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def is_this_host(host: str) -> bool:
    """Return whether a name or address is that of this host itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
