"""The way to a server: straight, or by the proxy that the environment names."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from fstore.s3.options import Origin, is_this_host


class NoWay(Exception):
    """What keeps every connection from coming about until somebody changes a setting.

    Trying again is no use.
    """


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and what it is told of who comes."""

    host: str
    port: int
    headers: dict[str, str] = field(repr=False)


def proxy_for(origin: Origin) -> Proxy | None:
    """Return the proxy that HTTPS_PROXY or HTTP_PROXY names.

    None where NO_PROXY excepts the server; raises ``NoWay``. This host is reached without one, whatever the
    environment says.
    """
    if is_this_host(origin.host):
        return None
    proxies: dict[str, str] = getproxies_environment()
    address = proxies.get(origin.scheme)
    beside = f"{origin.host}:{origin.port}" if origin.port else origin.host
    if not address or proxy_bypass_environment(beside, proxies):
        return None
    name = f"{origin.scheme.upper()}_PROXY"
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host:
        raise NoWay(f"{name} is no address of a proxy; expected http://host:port, or except the server in NO_PROXY")
    if parts.scheme != "http":
        raise NoWay(
            f"{name} names a proxy that is spoken to by {parts.scheme}, which is not supported; "
            "name one by http://host:port, or except the server in NO_PROXY"
        )
    headers = {}
    if parts.username:
        who = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {b64encode(who.encode()).decode()}"
    return Proxy(host, port or 80, headers)
