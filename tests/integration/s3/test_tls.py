"""A bucket over https: whom it is believed, by which proxy it is reached, and what is said where either fails."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fstore.errors import StorageUnavailable
from fstore.s3 import Keys, S3Client, S3Options
from tests.object_servers import KEY, SECRET, Bucket
from tests.support.tls_front import Authority, connect_proxy, tls_front
from tests.waiting import awake_s

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make certificates with")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "http_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def front(bucket: Bucket, authority: Authority) -> Iterator[int]:
    """TLS before ministack, as 127.0.0.1."""
    with tls_front(bucket.server.address, authority.issue("right", "IP:127.0.0.1")) as port:
        yield port


def client(bucket: Bucket, url: str, ca_file: Path | None = None, **options: object) -> S3Client:
    keys = Keys(KEY, SECRET)
    return S3Client(
        bucket.name,
        S3Options(endpoint_url=url, addressing="path", ca_file=ca_file, keys=lambda: keys, timeout_s=5, **options),  # type: ignore[arg-type]
    )


def test_a_private_authority(bucket, front, authority):
    """What is asked and answered over TLS is what it is without, large ones in parts too."""
    over_tls = client(bucket, f"https://127.0.0.1:{front}", authority.certificate, part_bytes=5 << 20)
    data = bytes(range(256)) * 100_000
    over_tls.put("one", data)
    over_tls.put_large("two", data)
    assert over_tls.fetch("one", len(data)).data.to_pybytes() == data == bucket.get("two")
    assert [one.key for page in over_tls.list("") for one in page] == ["one", "two"]


@pytest.mark.parametrize(
    ("certificate", "ca_file", "says"),
    [
        (("right", "IP:127.0.0.1", 2), None, "FEATURE_STORE_S3_CA_FILE"),
        (("right", "IP:127.0.0.1", 2), "stranger", "none of the authorities in FEATURE_STORE_S3_CA_FILE="),
        (("other", "DNS:elsewhere.example", 2), "authority", "another name"),
        (("elsewhere", "IP:127.0.0.2", 2), "authority", "another name"),
        (("old", "IP:127.0.0.1", -1), "authority", "expired"),
    ],
    ids=["unknown authority", "other authority", "another host", "another address", "expired"],
)
def test_who_is_not_believed(bucket, authority, tmp_path, certificate, ca_file, says):
    """Nothing is sent, nothing is tried again, and the error says what to do."""
    name, subject, days = certificate
    trusted = {None: None, "authority": authority}.get(ca_file) or (
        Authority(tmp_path, "stranger") if ca_file else None
    )
    with tls_front(bucket.server.address, authority.issue(name, subject, days=days)) as port:
        asking = client(bucket, f"https://127.0.0.1:{port}", trusted.certificate if trusted else None)
        began = awake_s()
        for act in (lambda: asking.get("one"), lambda: asking.put("one", b"1")):
            with pytest.raises(StorageUnavailable, match=says):
                act()
        assert awake_s() - began < 2
        assert (asking.counts["object_retries"], asking.counts["object_breaker_opened"]) == (0, 0)
    assert bucket.keys() == []


def test_no_tls_there(bucket):
    """A server of plain bytes at the port of an https address."""
    host, port = bucket.server.address
    with pytest.raises(StorageUnavailable, match="does not speak TLS"):
        client(bucket, f"https://{host}:{port}").get("one")


@pytest.mark.parametrize("content", [None, "", "no certificate"])
def test_a_file_of_authorities_that_is_none(bucket, front, tmp_path, content):
    """The setting is named."""
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    asking = client(bucket, f"https://127.0.0.1:{front}", file)
    with pytest.raises(StorageUnavailable, match=r"FEATURE_STORE_S3_CA_FILE=.*PEM"):
        asking.get("one")
    assert asking.counts["object_retries"] == 0


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_by_a_proxy(bucket, authority, monkeypatch, scheme):
    """A server of another host is reached by the proxy that the environment names, over TLS from end to end."""
    asked: list[str] = []
    certificate = authority.issue("named", "DNS:store.example")
    with tls_front(bucket.server.address, certificate) as port:
        place = {"https": "store.example:443", "http": "store.example:8080"}[scheme]
        beyond = {"https": ("127.0.0.1", port), "http": bucket.server.address}[scheme]
        with connect_proxy(asked, {place: beyond}) as proxy:
            monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://somebody:se%40cret@127.0.0.1:{proxy}")
            url = "https://store.example" if scheme == "https" else f"http://{place}"
            asking = client(bucket, url, authority.certificate if scheme == "https" else None, allow_http=True)
            asking.put("a/b c", b"data")
            assert asking.get("a/b c").data.to_pybytes() == b"data"
    assert bucket.get("a/b c") == b"data"
    assert asked[0].startswith("CONNECT store.example:443 " if scheme == "https" else f"PUT http://{place}/")
    assert "proxy-authorization: basic" in asked[0].lower()
    assert scheme == "http" or len(asked) == 1  # and the connection is kept


def test_this_host_is_reached_without_a_proxy(bucket, front, authority, monkeypatch):
    """A proxy could reach only its own loopback."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    client(bucket, f"https://127.0.0.1:{front}", authority.certificate).put("one", b"1")
    assert bucket.get("one") == b"1"


def test_excepted_from_the_proxy(bucket, authority, monkeypatch):
    """``NO_PROXY`` counts."""
    asked: list[str] = []
    with connect_proxy(asked, {}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy}")
        monkeypatch.setenv("NO_PROXY", "other.example,.invalid")
        with pytest.raises(StorageUnavailable):
            client(bucket, "https://store.invalid").get("one")
    assert asked == []


@pytest.mark.parametrize("address", ["socks5://127.0.0.1:1080", "https://proxy.example:3128", "http://[bad"])
def test_proxies_that_are_refused(bucket, monkeypatch, address):
    """In words, at once."""
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(StorageUnavailable, match=r"HTTPS_PROXY.*http://host:port"):
        client(bucket, "https://store.example").get("one")


def test_a_proxy_that_refuses(bucket, monkeypatch):
    """Its credentials are in no error."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def refuse() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")

        threading.Thread(target=refuse, daemon=True).start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://somebody:secretive@127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(StorageUnavailable, match="407") as caught:
            client(bucket, "https://store.example").get("one")
    assert "secretive" not in f"{caught.value}{caught.value!r}{caught.value.__cause__!r}"
