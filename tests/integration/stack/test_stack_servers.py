"""The embedded Postgres and Redis themselves."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import redis

from fstore.errors import ConfigurationError, StorageUnavailable
from fstore.stack import EmbeddedServers, down, layout, temporary_servers
from fstore.stack.choices import Choices, load_choices, save_choices
from fstore.stack.processes.os_user import Account, server_account
from fstore.stack.servers.binaries import find_postgres, find_redis, reachable
from tests.waiting import eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root lends accounts to servers")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every account may pass through, unlike those of the test runner."""
    made = Path(tempfile.mkdtemp(prefix="fst-")).resolve()
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def shared() -> Iterator[EmbeddedServers]:
    """Servers for the tests that leave them running."""
    with temporary_servers(postgres_settings={"max_connections": "40"}) as servers:
        yield servers


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with closing(psycopg2.connect(url, connect_timeout=5)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=5)


def test_data_addresses_and_passwords_survive_a_restart(folder):
    """What was written is there at the next start, under the same addresses."""
    with EmbeddedServers(folder) as servers:
        first = (servers.postgres_url, servers.redis_url)
        execute(servers.postgres_url, "CREATE TABLE kept (a int); INSERT INTO kept VALUES (7)")
        with client(servers.redis_url) as connection:
            connection.set("kept", "8")

    with EmbeddedServers(folder) as servers:
        assert (servers.postgres_url, servers.redis_url) == first
        assert execute(servers.postgres_url, "SELECT a FROM kept") == [(7,)]
        with client(servers.redis_url) as connection:
            assert connection.get("kept") == b"8"


def test_nothing_runs_and_nothing_is_left_in_tmp_afterwards(folder):
    """The end of the block ends both processes and removes the socket's folder."""
    with EmbeddedServers(folder) as servers:
        pids = (servers.postgres.pid, servers.redis.pid)
        runtime = Path(load_choices(servers.layout.choices).runtime or "")
        assert runtime.is_dir()

    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not runtime.exists()


def test_servers_run_with_the_measured_settings(shared):
    """Durability and lock settings are those the design relies on, checksums are on."""
    servers = shared
    shown = {
        name: execute(servers.postgres_url, f"SHOW {name}")[0][0]
        for name in ("fsync", "deadlock_timeout", "data_checksums", "listen_addresses", "max_connections")
    }
    with client(servers.redis_url) as connection:
        policy = {**connection.config_get("maxmemory-policy"), **connection.config_get("appendonly")}

    assert shown == {
        "fsync": "on",
        "deadlock_timeout": "1s",
        "data_checksums": "on",
        "listen_addresses": "",
        "max_connections": "40",
    }
    assert {str(name): str(value) for name, value in policy.items()} == {
        "maxmemory-policy": "noeviction",
        "appendonly": "yes",
    }


def test_both_servers_ask_for_their_password(shared):
    """Whoever reaches socket or port without the password is refused, and the password stands in no argument list."""
    servers = shared
    password = servers.choices.postgres_password
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(servers.postgres_url.replace(password, "wrong"))
    with pytest.raises(redis.AuthenticationError), client("redis://" + servers.redis_url.partition("@")[2]) as one:
        one.ping()
    for child in (servers.postgres, servers.redis):
        words = Path(f"/proc/{child.pid}/cmdline").read_bytes().decode()
        assert password not in words
        assert servers.choices.redis_password not in words


def test_killed_servers_come_back_with_their_data(shared):
    """kill -9 loses nothing that was committed, and the addresses stay."""
    servers = shared
    execute(servers.postgres_url, "CREATE TABLE kept AS SELECT 1 AS a")

    servers.kill_postgres()
    servers.kill_redis()
    servers.start_postgres()
    servers.start_redis()

    assert execute(servers.postgres_url, "SELECT a FROM kept") == [(1,)]
    with client(servers.redis_url) as connection:
        assert connection.ping()


def test_stopping_and_starting_again_is_allowed_in_any_order(shared):
    """Stopping twice, starting twice: harmless."""
    servers = shared
    servers.stop_redis()
    servers.stop_redis()
    servers.start_redis()
    servers.start_redis()
    servers.stop_postgres()
    servers.start_postgres()

    assert execute(servers.postgres_url, "SELECT 1") == [(1,)]


def test_a_stale_pid_file_with_the_number_of_a_stranger_does_not_matter(folder):
    """postmaster.pid may name any process by now; this one, say."""
    with EmbeddedServers(folder):
        pass
    stale = folder / "stack" / "postgres" / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{stale.parent}\n1\n5432\n/tmp\n\n1 1\nready\n")

    with EmbeddedServers(folder) as servers:
        assert execute(servers.postgres_url, "SELECT 1") == [(1,)]


def test_a_port_that_got_busy_is_replaced(folder):
    """When somebody took the port since the last start, another one is chosen and kept."""
    with EmbeddedServers(folder) as servers:
        port = servers.choices.redis_port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with EmbeddedServers(folder) as servers:
            assert servers.choices.redis_port != port
            with client(servers.redis_url) as connection:
                assert connection.ping()


def test_redis_starts_empty_when_its_data_cannot_be_loaded(folder):
    """Redis may forget: damaged data are set aside and said so, the start goes on."""
    with EmbeddedServers(folder):
        pass
    for path in (folder / "stack" / "redis" / "appendonlydir").glob("*.rdb"):
        path.write_bytes(b"REDIS9999 this is no database")
    said: list[str] = []

    with EmbeddedServers(folder, say=said.append) as servers, client(servers.redis_url) as connection:
        assert connection.ping()

    assert any("starts empty" in text for text in said)
    assert list((folder / "stack").glob("redis.unreadable-*"))


def test_a_long_root_and_a_root_with_spaces_work():
    """The socket lies elsewhere, so 150 characters, spaces and quotes in the root do not matter."""
    made = Path(tempfile.mkdtemp(prefix="fst-")).resolve()
    made.chmod(0o711)
    root = made / 'it\'s a "long" 100% root' / ("x" * 120)
    try:
        assert len(str(root)) > 150
        with EmbeddedServers(root) as servers:
            assert execute(servers.postgres_url, "SELECT 1") == [(1,)]
            with client(servers.redis_url) as connection:
                assert connection.ping()
    finally:
        shutil.rmtree(made)


def test_one_process_at_a_time_owns_a_folder(shared):
    """A second one is told who is in the way; the first goes on undisturbed."""
    other = EmbeddedServers(shared.layout.root)
    with pytest.raises(ConfigurationError, match="another process runs the servers"), other:
        pass

    assert execute(shared.postgres_url, "SELECT 1") == [(1,)]


def test_a_half_made_database_is_made_anew(folder):
    """A start that was killed during the creation leaves nothing in the next one's way."""
    fresh = folder / "stack" / "postgres.new"
    fresh.mkdir(parents=True)
    (folder / "stack").chmod(0o711)
    (fresh / "PG_VERSION").write_text("18\n")

    with EmbeddedServers(folder) as servers:
        assert execute(servers.postgres_url, "SELECT 1") == [(1,)]
    assert not fresh.exists()


def test_a_child_started_from_a_thread_outlives_the_thread(shared):
    """The signal that ends orphans comes from the end of the process, not of the thread that asked."""
    servers = shared
    servers.stop_redis()
    thread = threading.Thread(target=servers.start_redis)
    thread.start()
    thread.join()

    with client(servers.redis_url) as connection:
        assert connection.ping()
        assert not servers.redis.has_ended()


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals exist on Linux only")
def test_servers_die_with_a_killed_owner(folder):
    """kill -9 of the process that owns them leaves neither server behind."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom fstore.stack import EmbeddedServers\n"
        "with EmbeddedServers(Path(sys.argv[1])) as s:\n"
        "    print(s.postgres.pid, s.redis.pid, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        owner.kill()

    assert len(pids) == 2
    eventually(lambda: not any(is_running(pid) for pid in pids), seconds=10, what="both servers to go")
    down(folder)
    assert not Path(load_choices(folder / "stack" / "choices.json").runtime or "/").exists()


def is_running(pid: int) -> bool:
    from fstore.stack_state import birth_of

    return birth_of(pid) is not None


def test_temporary_servers_leave_no_folder():
    """Servers for a test vanish with everything they wrote."""
    with temporary_servers() as servers:
        root = servers.layout.root
        assert execute(servers.postgres_url, "SELECT 1") == [(1,)]

    assert not root.exists()


def test_a_socket_folder_that_somebody_else_made_is_left_alone(folder):
    """Anybody may write to /tmp: a link under our name is no reason to fail, and is not followed."""
    place = layout.Layout(folder)
    place.create()
    expected = Path(tempfile.gettempdir()) / f"fstore-{layout.short_mark(place)}"
    expected.symlink_to(folder)
    try:
        places, choices = layout.settle(place, Choices())
        runtime = places.runtime
        again, _ = layout.settle(place, choices)
    finally:
        expected.unlink()

    assert runtime != expected
    assert not runtime.is_symlink()
    assert again.runtime == runtime
    layout.remove_runtime(runtime)
    assert not runtime.exists()


def test_a_root_that_is_a_file_is_a_typed_error(folder):
    """The message names the folder and what to do."""
    (folder / "root").write_text("")

    with pytest.raises(StorageUnavailable, match="choose a folder"), EmbeddedServers(folder / "root"):
        pass


def test_data_of_a_postgres_that_is_not_installed_are_refused(folder):
    """Data of another major version are left untouched, the message says how to go on."""
    with EmbeddedServers(folder):
        pass
    (folder / "stack" / "postgres" / "PG_VERSION").write_text("13\n")

    with pytest.raises(ConfigurationError, match="written by Postgres 13"), EmbeddedServers(folder):
        pass


def test_a_lost_password_is_said_plainly(folder):
    """Without choices.json nobody can log in; waiting would not help."""
    with EmbeddedServers(folder) as servers:
        path = servers.layout.choices
    save_choices(path, load_choices(folder / "none"))

    with pytest.raises(ConfigurationError, match="another password"), EmbeddedServers(folder):
        pass


def test_wrong_binaries_are_refused_by_name(folder):
    """An override that holds no server is an error, not a silent fallback."""
    with pytest.raises(ConfigurationError, match="FEATURE_STORE_PG_BINDIR"):
        find_postgres(override=folder, data_major=None)
    with pytest.raises(ConfigurationError, match="FEATURE_STORE_REDIS_SERVER"):
        find_redis(override=folder / "redis-server")


@as_root
def test_root_lends_an_account_and_widens_no_permission(folder, monkeypatch):
    """Below a private folder the data go elsewhere; modes above the root stay as they were."""
    private = folder / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setattr(layout, "OUTSIDE_HOMES", (folder / "outside",))

    with EmbeddedServers(private / "root") as servers:
        assert execute(servers.postgres_url, "SELECT 1") == [(1,)]
        owners = {Path(f"/proc/{child.pid}").stat().st_uid for child in (servers.postgres, servers.redis)}

    assert 0 not in owners
    assert private.stat().st_mode & 0o777 == 0o700
    assert len(list((folder / "outside").glob("*/postgres/PG_VERSION"))) == 1


@as_root
def test_a_copied_root_does_not_run_on_the_original_s_data(folder, monkeypatch):
    """Data that lie outside belong to one root; a moved root takes them along, a copy is refused."""
    private = folder / "private"
    private.mkdir(mode=0o700)
    monkeypatch.setattr(layout, "OUTSIDE_HOMES", (folder / "outside",))
    with EmbeddedServers(private / "one") as servers:
        execute(servers.postgres_url, "CREATE TABLE kept AS SELECT 1 AS a")
    shutil.copytree(private / "one", private / "two")

    with pytest.raises(ConfigurationError, match="is a copy of"), EmbeddedServers(private / "two"):
        pass

    shutil.rmtree(private / "two")
    (private / "one").rename(private / "three")
    with EmbeddedServers(private / "three") as servers:
        assert execute(servers.postgres_url, "SELECT a FROM kept") == [(1,)]


@as_root
def test_programs_in_a_private_home_are_copied_not_opened_up(folder):
    """A virtual environment that the servers' account cannot enter keeps its permissions."""
    account = server_account()
    assert isinstance(account, Account)
    home = folder / "home"
    found = find_postgres(override=None, data_major=None)
    package = found.bindir.parent.parent
    tree = home / package.name / found.bindir.parent.name
    shutil.copytree(found.bindir.parent, tree, symlinks=True)
    if (libraries := package.with_name(f"{package.name}.libs")).is_dir():
        shutil.copytree(libraries, home / libraries.name, symlinks=True)
    home.chmod(0o700)

    program = reachable(tree / "bin" / "postgres", tree, account, folder / "cache")
    again = reachable(tree / "bin" / "postgres", tree, account, folder / "cache")

    assert account.can_run(program)
    for name in ("postgres", "initdb"):
        ran = subprocess.run(
            [program.with_name(name), "--version"],
            user=account.uid, group=account.gid, extra_groups=[], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
    assert program == again
    assert program.is_relative_to(folder / "cache")
    assert home.stat().st_mode & 0o777 == 0o700
