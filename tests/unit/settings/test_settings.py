"""Settings: who wins, what is refused, what is shown."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from fstore.errors import ConfigurationError
from fstore.settings.loading import child_environment, find_celery_overrides, gather_settings
from fstore.settings.schema import Settings
from fstore.settings.values import masked


def load(environ: dict[str, str] | None = None, **overrides: Any) -> Settings:
    """Load from the given environment alone."""
    return gather_settings(overrides, environ=environ or {})


def faults_of(environ: dict[str, str] | None = None, **overrides: Any) -> str:
    """Load what must be refused and return the text of the refusal."""
    with pytest.raises(ConfigurationError) as caught:
        load(environ, **overrides)
    return str(caught.value)


def write(folder: Path, text: str) -> Path:
    """Write a configuration file."""
    file = folder / "fstore.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_without_anything_given_defaults_hold():
    """An empty environment gives the documented defaults and says so."""
    s = load()

    assert (s.tick_data_threshold_mb, s.gc_retention_weeks, s.gc_schedule, s.max_workers) == (100, 4, "0 2 * * *", 10)
    assert s.path == Path("~/.fstore").expanduser()
    assert s.feature_modules == ("fstore.intraday",)
    assert s.postgres_url is None
    assert set(s.origins.values()) == {"default"}


def test_argument_beats_environment_beats_file_beats_stack(tmp_path: Path):
    """Each layer wins over the ones below it, field by field, and the origin tells which did."""
    file = write(tmp_path, "feature_store: {gc_grace_hours: 3, max_starts: 3, lease_seconds: 33}")
    s = gather_settings(
        {"gc_grace_hours": 5},
        environ={"FEATURE_STORE_GC_GRACE_HOURS": "4", "FEATURE_STORE_MAX_STARTS": "4"},
        config_file=file,
        stack={"gc_grace_hours": 2, "max_starts": 2, "lease_seconds": 32, "redis_url": "redis://127.0.0.1:7000/0"},
    )

    assert (s.gc_grace_hours, s.max_starts, s.lease_seconds) == (5, 4, 33)
    assert s.redis_url is not None
    assert s.redis_url.get_secret_value() == "redis://127.0.0.1:7000/0"
    assert s.origins["gc_grace_hours"] == "argument gc_grace_hours"
    assert s.origins["max_starts"] == "environment FEATURE_STORE_MAX_STARTS"
    assert s.origins["lease_seconds"] == f"file {file}, feature_store.lease_seconds"
    assert s.origins["redis_url"] == "running stack redis_url"
    assert s.origins["log_level"] == "default"


def test_file_has_the_documented_shape(tmp_path: Path):
    """The grouped names of the YAML file set the fields they stand for."""
    file = write(
        tmp_path,
        """
feature_store:
  path: /data/feature_cache
  optimizations: {enable_gc: false, gc_retention_weeks: 2, gc_schedule: "5 3 * * 1", tick_data_threshold_mb: 7, max_workers: 3}
  monitoring: {enable_metrics: false, integrity_checks: false, performance_tracking: false}
  data_roots: [/data/raw, /data/more]
  postgres_url:
""",
    )
    s = gather_settings(environ={"FEATURE_STORE_CONFIG": str(file)})

    assert s.path == Path("/data/feature_cache")
    assert (s.gc_enabled, s.gc_retention_weeks, s.gc_schedule) == (False, 2, "5 3 * * 1")
    assert (s.tick_data_threshold_mb, s.max_workers) == (7, 3)
    assert (s.enable_metrics, s.integrity_enabled, s.performance_tracking) == (False, False, False)
    assert s.data_roots == (Path("/data/raw"), Path("/data/more"))
    assert s.postgres_url is None
    assert s.origins["gc_enabled"] == f"file {file}, feature_store.optimizations.enable_gc"


@pytest.mark.parametrize("text", ["", "feature_store:", "feature_store: {}", "# nothing yet\n"])
def test_every_key_of_the_file_is_optional(tmp_path: Path, text: str):
    """A file that sets nothing leaves the defaults."""
    s = gather_settings(environ={}, config_file=write(tmp_path, text))

    assert set(s.origins.values()) == {"default"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("feature_stor: {path: /x}", "'feature_stor' is unknown"),
        ("feature_store: {pth: /x}", "feature_store.pth: no such setting; did you mean path?"),
        ("feature_store: {optimizations: {gc_shedule: x}}", "gc_shedule: no such setting; did you mean gc_schedule?"),
        ("feature_store: {optimizations: 3}", "expected names with values, found int"),
        ("[1, 2]", "expected names with values, found list"),
        ("feature_store: {max_starts: 2, max_starts: 3}", "'max_starts' is given twice"),
        ("feature_store: {max_workers: 2, optimizations: {max_workers: 3}}", "max_workers is set twice"),
        ("feature_store: {postgres_url: 'postgresql://u:hidden@h/d", "not valid YAML"),
    ],
)
def test_faulty_file_is_refused_with_the_place(tmp_path: Path, text: str, expected: str):
    """A key or a shape that is not known is named with its place in the file, and no line of the file is quoted."""
    with pytest.raises(ConfigurationError) as caught:
        gather_settings(environ={}, config_file=write(tmp_path, text))

    assert expected in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_missing_file_is_a_fault(tmp_path: Path):
    """A configuration file that was asked for must exist."""
    with pytest.raises(ConfigurationError, match="cannot be read"):
        gather_settings(environ={"FEATURE_STORE_CONFIG": str(tmp_path / "absent.yaml")})


def test_secret_may_come_from_a_file(tmp_path: Path):
    """A variable ending in _FILE gives the contents of that file, without the newline at its end."""
    (tmp_path / "pg").write_text("postgresql://u:pw@h/db\n", encoding="utf-8")
    s = load({"FEATURE_STORE_POSTGRES_URL_FILE": str(tmp_path / "pg")})

    assert s.postgres_url is not None
    assert s.postgres_url.get_secret_value() == "postgresql://u:pw@h/db"
    assert s.origins["postgres_url"] == "environment FEATURE_STORE_POSTGRES_URL_FILE"


def test_value_and_file_of_one_setting_contradict(tmp_path: Path):
    """Setting a variable and its _FILE twin is refused, whatever they hold."""
    (tmp_path / "level").write_text("DEBUG", encoding="utf-8")

    text = faults_of({"FEATURE_STORE_LOG_LEVEL": "DEBUG", "FEATURE_STORE_LOG_LEVEL_FILE": str(tmp_path / "level")})

    assert "log_level is set twice" in text


def test_unreadable_secret_file_is_named(tmp_path: Path):
    """A _FILE variable that leads nowhere is refused with its path."""
    text = faults_of({"FEATURE_STORE_REDIS_URL_FILE": str(tmp_path / "absent")})

    assert "FEATURE_STORE_REDIS_URL_FILE: cannot read" in text


def test_empty_variable_counts_as_not_set():
    """What a compose file passes on empty does not override anything."""
    s = load({"FEATURE_STORE_GC_MAX_BYTES": "", "FEATURE_STORE_POSTGRES_URL": "", "FEATURE_STORE_CONFIG": ""})

    assert s.gc_max_bytes is None
    assert s.origins["postgres_url"] == "default"


def test_all_faults_are_told_at_once():
    """Misspelt names, bad values and broken rules come in one error, each with what to change."""
    text = faults_of(
        {
            "FEATURE_STORE_GC_RETENTION_WEEK": "2",
            "FEATURE_STORE_GC_ENABLED": "perhaps",
            "FEATURE_STORE_LEASE_SECONDS": "15",
        },
        gc_schedule="daily",
        paht="/x",
    )

    assert "5 faults in the settings" in text
    assert "did you mean FEATURE_STORE_GC_RETENTION_WEEKS?" in text
    assert "gc_enabled (environment FEATURE_STORE_GC_ENABLED)" in text
    assert "gc_schedule (argument gc_schedule): expected five fields" in text
    assert "did you mean path?" in text
    assert "set lease_seconds above 20" in text


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"gc_grace_hours": 0.5}, "set gc_grace_hours to 1 or more"),
        ({"gc_grace_hours": 2, "compute_time_limit_s": 7200}, "set gc_grace_hours to 4 or more"),
        ({"compute_soft_limit_s": 900}, "must be below the hard one"),
        ({"lock_seconds": 20}, "set lock_seconds above 20"),
        ({"path": "/s", "local_cache": "/s/entries/here"}, "choose another folder"),
        ({"path": "/s", "local_cache": "/s"}, "choose another folder"),
        ({"path": "/s/t", "local_cache": "/s"}, "choose another folder"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(overrides: dict[str, Any], expected: str):
    """Rules over several settings are checked, and say what to change."""
    assert expected in faults_of(**overrides)


def test_rules_accept_what_is_safe():
    """Short grace periods on purpose, and a local cache elsewhere, pass."""
    s = load(gc_grace_hours=0, gc_grace_unsafe=True, path="/s", local_cache="/s/local")

    assert s.gc_grace_hours == 0
    assert s.local_cache == Path("/s/local")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("50MB", 50_000_000),
        ("2GiB", 2 * 1024**3),
        ("1.5 kb", 1500),
        ("123", 123),
        (77, 77),
        ("5b", 5),
        (" 3 TB ", 3 * 10**12),
        ("1.50KiB", 1536),
        ("2.5", 2),
        ("0.1 gib", 107_374_182),
        ("1tib", 1024**4),
        ("9007199254740993", 2**53 + 1),
        ("5 K", 5000),
    ],
)
def test_sizes_may_have_units(text: object, size: int):
    """MB counts by thousands, MiB by 1024, a bare number is bytes; blanks and fractions are as good as ever."""
    assert load(gc_max_bytes=text).gc_max_bytes == size


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gc_max_bytes", "5 parsecs"),
        ("gc_max_bytes", "-1"),
        ("gc_max_bytes", True),
        ("gc_retention_weeks", "nan"),
        ("gc_retention_weeks", 0),
        ("max_workers", True),
        ("max_workers", "2.5"),
        ("path", " "),
        ("path", "~nobody-of-this-name/x"),
        ("path", 7),
        ("postgres_url", "mysql://u:hidden@h/d"),
        ("postgres_url", "u:hidden@h"),
        ("redis_url", "http://u:hidden@h"),
        ("redis_url", "redis://[hidden"),
        ("redis_url", 5),
        ("feature_modules", "mypkg.features,os;hidden"),
        ("feature_modules", "../x"),
        ("feature_modules", 5),
        ("data_roots", ["/a,b"]),
        ("data_roots", 5),
        ("hash_policy", "none"),
        ("log_level", "LOUD"),
        ("signing_key", "hidden"),
        ("gc_schedule", 5),
    ],
)
def test_value_outside_its_kind_is_refused(name: str, value: object):
    """A value that is not of its setting's kind is refused by the setting's name."""
    assert f"{name} (argument {name})" in faults_of(**{name: value})


@pytest.mark.parametrize("name", ["postgres_url", "redis_url", "signing_key", "flower_auth"])
def test_refusal_and_display_hide_secrets(name: str):
    """No secret shows in an error, in the repr or in the listing."""
    good = {
        "postgres_url": "postgresql://ann:hidden@db:5432/fs?password=hidden",
        "redis_url": "rediss://:hidden@r:6379/0",
        "signing_key": "hidden-hidden-hidden",
        "flower_auth": "ann:hidden",
    }[name]
    s = load(**{name: good})
    row = next(row for row in s.describe() if row.name == name)

    assert "hidden" not in repr(s)
    assert "hidden" not in row.value
    assert "********" in row.value
    if name.endswith("_url"):
        assert "hidden" not in faults_of(**{name: f"ftp{good}"})
        assert row.value.startswith(good[: good.index("://")])


@pytest.mark.parametrize("secret", ["redis://:pa/hidden@h", "redis://:pa#hidden@h", "redis://:pa?hidden@h", "hidden"])
def test_password_that_was_not_quoted_does_not_show(secret: str):
    """An address whose password breaks its syntax is masked as a whole."""
    assert masked(secret) == "********"


def test_socket_folder_of_an_address_is_shown():
    """What says where an address leads stays readable."""
    shown = masked("postgresql://ann:hidden@/fs?host=/run/pg&password=hidden")

    assert shown == "postgresql://ann:********@/fs?host=/run/pg&password=********"


def test_names_in_a_list_are_separated_by_commas():
    """Modules and folders come as one text with commas; repeated modules count once."""
    s = load({"FEATURE_STORE_FEATURE_MODULES": "a.b, c,a.b", "FEATURE_STORE_DATA_ROOTS": "/x, /y z"})

    assert s.feature_modules == ("a.b", "c")
    assert s.data_roots == (Path("/x"), Path("/y z"))


def test_derived_limits():
    """The soft limit stays below the hard one for long and short computations; redelivery waits for twice the hard one."""
    assert (load().soft_time_limit_s, load().visibility_timeout_s) == (840, 1800)
    assert load(compute_time_limit_s=10).soft_time_limit_s == pytest.approx(9.3)
    assert load(compute_soft_limit_s=5).soft_time_limit_s == 5
    assert load(tick_data_threshold_mb=0.5).threshold_bytes == 500_000


def test_lease_times_come_from_the_settings():
    """One value holds what SQL and waiters count by; the settings in it are those that were set."""
    times = load(lease_seconds=3, lock_seconds=4, renew_seconds=1, failure_memory_s=7).lease_times

    assert (times.lease_s, times.lock_s, times.renew_s, times.failure_memory_s) == (3, 4, 1, 7)
    assert times.retry_after_s == 5
    assert times.nudge_every_s < times.lost_when_idle_s < times.lost_unsent_s < times.lost_sent_s


def test_settings_are_frozen_and_survive_pickling():
    """A loaded value cannot be changed, and a copy in another process keeps its origins."""
    s = load(path="/x", log_level="debug")

    with pytest.raises(ValueError, match="frozen"):
        s.path = Path("/y")
    copy = pickle.loads(pickle.dumps(s))
    assert copy == s
    assert hash(copy) == hash(s)
    assert copy.origins["log_level"] == "argument log_level"


def test_what_was_set_is_shown_and_nothing_else() -> None:
    """In a notebook a line tells what somebody chose; 'fstore config' lists all, and secrets show nowhere."""
    text = repr(load(gc_retention_weeks=6, postgres_url="postgresql://u:secret@h/d"))

    assert "gc_retention_weeks=6" in text
    assert "postgres_url=" in text
    assert "secret" not in text.replace("SecretStr", "")
    assert len(text) < 200


def test_a_notebook_shows_what_was_set_as_a_table() -> None:
    """With where each was written; passwords are masked, and what was given cannot become markup."""
    given = {"FEATURE_STORE_REDIS_URL": "redis://:hidden@r:6379/0", "FEATURE_STORE_SIGNING_KEY": "hidden-hidden-hidden"}
    shown = load(given, path="/<b>x</b>")._repr_html_()

    assert "<td>redis://:********@r:6379/0</td><td>environment FEATURE_STORE_REDIS_URL</td>" in shown
    assert "<td>/&lt;b&gt;x&lt;/b&gt;</td><td>argument path</td>" in shown
    assert "hidden" not in shown
    assert shown.count("<tr>") == 4
    assert f"{len(Settings.model_fields) - 3} more have their defaults" in shown


def test_calling_the_class_reads_no_environment(monkeypatch: pytest.MonkeyPatch):
    """Only ``load`` looks at the environment, and it does so when none is passed in."""
    monkeypatch.setenv("FEATURE_STORE_MAX_STARTS", "7")

    assert Settings().max_starts == 3
    assert Settings(max_starts=5).origins["max_starts"] == "argument"
    assert gather_settings().max_starts == 7


def test_child_process_gets_the_same_settings(tmp_path: Path):
    """The environment built for a child loads to the same values, and nothing else is inherited."""
    parent = gather_settings(
        {
            "path": tmp_path,
            "data_roots": ("/a", "/b"),
            "gc_dry_run": True,
            "lease_seconds": 31.5,
            "gc_max_bytes": "2GB",
        },
        environ={"FEATURE_STORE_SIGNING_KEY": "0123456789abcdef"},
    )

    built = child_environment(parent, environ={"HOME": "/h", "FEATURE_STORE_LOG_LEVEL": "DEBUG"})
    child = gather_settings(environ=built)

    assert built["HOME"] == "/h"
    assert child.model_dump() == parent.model_dump()


def test_variables_that_redirect_celery_are_found():
    """Celery's own variables, which override any configuration, are reported with secrets masked."""
    found = find_celery_overrides({"CELERY_BROKER_URL": "redis://:hidden@h/1", "CELERY_RESULT_BACKEND": ""})

    assert found == {"CELERY_BROKER_URL": "redis://:********@h/1"}
    assert find_celery_overrides({"CELERY_CONFIG_MODULE": "mine"}) == {"CELERY_CONFIG_MODULE": "********"}
    assert set(find_celery_overrides({"CELERY_BROKER_READ_URL": "redis://h/1", "CELERY_LOADER": "mine"})) == {
        "CELERY_BROKER_READ_URL",
        "CELERY_LOADER",
    }


def test_every_setting_explains_itself():
    """Each row of the listing says what the setting means."""
    rows = load(gc_dry_run=True, lease_seconds=40).describe()

    assert all(row.meaning for row in rows)
    assert {row.name: row.value for row in rows}["gc_dry_run"] == "true"
    assert {row.name: row.value for row in rows}["lease_seconds"] == "40"


def test_arguments_may_have_the_names_of_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each group's names, with the origin as it was written; both names of one setting are a fault."""
    chosen = gather_settings({"enable_gc": False, "integrity_checks": False}, environ={})

    assert (chosen.gc_enabled, chosen.integrity_enabled) == (False, False)
    assert chosen.origins["gc_enabled"] == "argument enable_gc"
    with pytest.raises(ConfigurationError, match="gc_enabled is set twice"):
        gather_settings({"enable_gc": False, "gc_enabled": True}, environ={})
    with pytest.raises(ConfigurationError, match="did you mean enable_gc"):
        gather_settings({"enable_gcc": False}, environ={})


def test_the_file_in_its_usual_place_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Unless another is named; what is wrong in it is told with its name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "feature_store.yaml").write_text("feature_store: {gc_grace_hours: 30}\n")
    (tmp_path / "other.yaml").write_text("feature_store: {}\n")

    assert gather_settings({}, environ={}).gc_grace_hours == 30
    assert gather_settings({}, environ={}, config_file=tmp_path / "other.yaml").gc_grace_hours == 24
    assert gather_settings({}, environ={"FEATURE_STORE_CONFIG": "other.yaml"}).gc_grace_hours == 24
    (tmp_path / "config" / "feature_store.yaml").write_text("feature_store: {gc_grace: 30}\n")
    with pytest.raises(ConfigurationError, match=r"config/feature_store\.yaml"):
        gather_settings({}, environ={})


@pytest.mark.parametrize(
    ("name", "given", "fault"),
    [
        ("gc_max_bytes", -5, "greater than or equal to 0"), ("gc_max_bytes", "5 parsecs", "expected a size such as"),
        ("gc_max_bytes", True, "not true or false"), ("gc_max_bytes", float("inf"), "expected a size such as"),
        ("gc_max_bytes", "9" * 6000, "expected a size such as"), ("scratch_max_bytes", "0", "greater than or equal to 1"),
        ("object_part_bytes", "1KB", "greater than or equal to 5242880"), ("path", 7, "expected a path, found int"),
        ("local_cache", 7, "expected a path, found int"), ("data_roots", 7, "expected a list, or one text with commas"),
        ("lease_seconds", "nan", "finite number"), ("log_format", "hidden", "'auto', 'json' or 'text'"),
        ("max_workers", "hidden", "valid integer"), ("gc_enabled", "hidden", "valid boolean"),
        ("s3_session_token", 5, "valid string"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_told_once_and_not_quoted(name: str, given: object, fault: str) -> None:
    """Bounds hold for sizes too, and a field of several kinds is one fault."""
    with pytest.raises(ConfigurationError, match=re.escape(fault)) as caught:
        gather_settings({name: given}, environ={})

    assert str(caught.value).count(f"{name} (argument") == 1
    assert "hidden" not in str(caught.value)
