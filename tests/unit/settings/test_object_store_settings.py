"""Settings of object stores: addresses are read or refused as text, secrets stay secret, what belongs together is checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fstore.bootstrap import Opening
from fstore.errors import ConfigurationError, InvalidRequest
from fstore.model import ObjectUrl, ParquetSource
from fstore.s3 import buckets_of, options_of
from fstore.settings import child_environment, gather_settings, read_secret_anew

SECRET = "/".join(["wJalrXUtnFEMI", "K7MDENG+bPxRfiCYEXAMPLEKEY"])
KEYS = {"s3_access_key_id": "AKIAIOSFODNN7EXAMPLE", "s3_secret_access_key": SECRET}
BAD_URLS = [
    "http://bucket/key",
    "S3://bucket/key",
    "s3a://bucket/key",
    "gs://bucket/key",
    "s3://",
    "s3:///key",
    "s3://ab/key",
    "s3://Bucket/key",
    "s3://-bucket/key",
    "s3://buck_et/key",
    "s3://bucket:9000/key",
    f"s3://key:{SECRET}@bucket/key",
    f"s3://bucket/key?X-Amz-Signature={SECRET}",
    f"s3://bucket/key#{SECRET}",
    "s3://bucket//key",
    "s3://bucket/a//b",
    "s3://bucket/../other",
    "s3://bucket/a/./b",
    "s3://bucket/a\nb",
    "s3://bucket/a\x00b",
    "s3://bucket--x-s3/key",
    "s3://bucket/" + 1025 * "a",
    "s3://bucket/" + 513 * "é",
]


def faults(**given: object) -> str:
    with pytest.raises(ConfigurationError) as caught:
        gather_settings(given, environ={})
    return str(caught.value)


@pytest.mark.parametrize("url", BAD_URLS)
def test_an_address_that_is_none_is_refused_wherever_it_is_given(url):
    """As a root, as a data root and as raw data, with a typed error that quotes no secret; never taken for a path."""
    for text in (faults(path=url), faults(data_roots=[url])):
        assert SECRET not in text
    with pytest.raises(InvalidRequest) as caught:
        ParquetSource(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("path", [Path("s3://bucket/key"), Path("s3:/bucket/key"), "s3:/bucket/key", Path("s3a://b/k")])
def test_what_a_path_made_of_an_address_is_refused(path):
    """A path swallows a slash, and would then lie below the present folder."""
    with pytest.raises(InvalidRequest, match="pass it as text"):
        ParquetSource(path)


def test_addresses_are_read():
    """Slashes at the end do not count; a bucket may be all of it; what looks odd and is a key is one."""
    assert ObjectUrl.parse("s3://my.bucket-1/a b/c=d/é+%20.parquet/") == ObjectUrl(
        "my.bucket-1", "a b/c=d/é+%20.parquet"
    )
    assert str(ObjectUrl.parse("s3://bucket/")) == "s3://bucket"
    with pytest.raises(ValueError, match="a bucket's name has"):
        ObjectUrl.parse("s3://")
    settings = gather_settings({"path": "s3://bucket/team", "data_roots": "/mnt/ticks, s3://raw/es"}, environ={})
    assert settings.path == ObjectUrl("bucket", "team")
    assert settings.data_roots == (Path("/mnt/ticks"), ObjectUrl("raw", "es"))
    assert (settings.folder, settings.stack_folder) == (None, Path("~/.fstore").expanduser())


@pytest.mark.parametrize(
    ("root", "other", "holds"),
    [
        ("s3://bucket/a", "s3://bucket/a/b", True),
        ("s3://bucket/a", "s3://bucket/a", True),
        ("s3://bucket", "s3://bucket/a", True),
        ("s3://bucket/a", "s3://bucket/ab", False),
        ("s3://bucket/a", "s3://bucket/A/b", False),
        ("s3://bucket/a/b", "s3://bucket/a", False),
        ("s3://bucket", "s3://bucket2/a", False),
    ],
)
def test_a_root_holds_what_lies_below_it(root, other, holds):
    """Names are compared letter by letter and end at a slash."""
    assert ObjectUrl.parse(root).holds(ObjectUrl.parse(other)) is holds


def test_settings_reach_a_child_as_they_are():
    """A root stays a root: a child process reads the very same settings."""
    chosen = gather_settings(
        {"path": "s3://bucket/team", "data_roots": "s3://raw", "local_cache": "off", **KEYS}, environ={}
    )
    again = gather_settings(environ=child_environment(chosen, environ={}))
    assert again.model_dump() == chosen.model_dump()
    assert again.cache_folder is None


def test_secrets_are_shown_nowhere(tmp_path):
    """Neither the key's id nor its secret: in no representation, no table, nothing that travels."""
    (tmp_path / "token").write_text(f"{SECRET}\n")
    environ = {"FEATURE_STORE_S3_SESSION_TOKEN_FILE": str(tmp_path / "token")}
    chosen = gather_settings({"path": "s3://bucket", **KEYS}, environ=environ)
    assert chosen.s3_session_token is not None
    assert chosen.s3_session_token.get_secret_value() == SECRET
    shown = [repr(chosen), str(chosen.describe()), repr(options_of(chosen)), repr(Opening.of(KEYS, None))]
    shown += [repr(options_of(chosen).keys and options_of(chosen).keys())]  # type: ignore[misc]
    assert [text for text in shown if SECRET in text] == []
    assert "AKIAIOSFODNN7EXAMPLE" not in "".join(shown[:4])


def test_a_secret_file_is_read_again(tmp_path, monkeypatch):
    """Who renews a key writes it there; while the file is away the last one known holds."""
    file = tmp_path / "secret"
    file.write_text("first-secret")
    variable = "FEATURE_STORE_S3_SECRET_ACCESS_KEY_FILE"
    monkeypatch.setenv(variable, str(file))
    chosen = gather_settings({"s3_access_key_id": "id"}, environ=dict(os.environ))
    keys = options_of(chosen).keys
    assert keys is not None
    assert keys().secret_access_key.startswith("first")
    file.write_text("second-secret\n")
    assert keys().secret_access_key.startswith("second")
    file.unlink()
    assert read_secret_anew(chosen, "s3_secret_access_key") == "first-secret"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"s3_access_key_id": "id"}, "go together"),
        ({"s3_secret_access_key": SECRET}, "go together"),
        ({"s3_session_token": SECRET}, "belongs to a key"),
        ({"s3_endpoint_url": "http://store.example:9000"}, "s3_allow_http=true"),
        ({"s3_endpoint_url": "store.example:9000"}, "https://host:port"),
        ({"s3_endpoint_url": f"https://key:{SECRET}@store.example"}, "https://host:port"),
        ({"s3_endpoint_url": "https://store.example/bucket"}, "without keys, path"),
        ({"s3_endpoint_url": "https://store.example:x"}, "https://host:port"),
        ({"s3_endpoint_url": "http://127.0.0.1:9000", "s3_ca_file": "/ca.pem"}, "means nothing to http"),
        ({"s3_expected_bucket_owner": "me"}, "12 digits"),
        ({"path": "s3://my.bucket/a", "s3_addressing": "virtual"}, "no certificate covers"),
        ({"object_part_bytes": "1MiB"}, "object_part_bytes"),
        ({"object_timeout_s": 0}, "object_timeout_s"),
        ({"raw_max_footer_bytes": "1"}, "raw_max_footer_bytes"),
        ({"local_cache_max_bytes": "0KB"}, "local_cache_max_bytes"),
        ({"gc_max_bytes": "-1"}, "gc_max_bytes"),
    ],
)
def test_what_does_not_go_together_is_told(given, told):
    """With the settings to change, and without a secret."""
    text = faults(**given)
    assert told in text
    assert SECRET not in text


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000", "http://localhost", "http://[::1]:9000", "https://store.example"]
)
def test_an_endpoint_may_be_this_host_without_tls(url):
    """And any other with it."""
    assert gather_settings({"s3_endpoint_url": f"{url}/"}, environ={}).s3_endpoint_url == url


def test_a_bucket_has_a_local_cache_unless_it_is_turned_off(tmp_path):
    """A folder has none unless it is given one."""
    for given, folder in (
        ({"path": "s3://bucket"}, Path("~/.cache/fstore").expanduser()),
        ({"path": "s3://bucket", "local_cache": "off"}, None),
        ({"path": "s3://bucket", "local_cache": tmp_path}, tmp_path),
        ({"path": tmp_path}, None),
        ({"path": tmp_path, "local_cache": "off"}, None),
    ):
        assert gather_settings(given, environ={}).cache_folder == folder


def test_equal_settings_share_their_clients():
    """One pool of connections a bucket and process."""
    one, other = (buckets_of(gather_settings({"path": "s3://bucket", **KEYS}, environ={})) for _ in range(2))
    assert one.client("bucket") is other.client("bucket")
    assert one.client("bucket") is not one.client("other-bucket")
    changed = buckets_of(gather_settings({"path": "s3://bucket", **KEYS, "s3_region": "eu-1"}, environ={}))
    assert changed.client("bucket") is not one.client("bucket")
