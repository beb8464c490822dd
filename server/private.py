"""A PostGIS and a Redis of our own: below our data folder, never the system's.

Both listen where only this machine can reach them, die with the process that started them (even
when that is killed), and write their log into a file. No system cluster, service or configuration
is read or touched.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psycopg

from processes.core.errors import OrographError

USER = "orograph"
START_S = 60.0
SOCKET_PATH_BYTES = 107
"""The most that Linux takes."""
# Debian keeps server programs out of PATH, one folder a version.
POSTGRES_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin")


class CannotStart(OrographError):
    """A part of the stack cannot be started; the message says what to do."""


Parts = dict[str, subprocess.Popen[bytes]]
"""Programs that run, by what they are called."""


@contextmanager
def postgis(
    folder: Path, log: Path, *, durable: bool = True, parts: Parts | None = None
) -> Iterator[str]:
    """Run a private PostGIS kept in *folder*; yields the URL of its database `orograph`.

    *durable* False trades safety against power cuts for speed, in tests. Its process is added to
    *parts*. Raises CannotStart.
    """
    programs = _postgres_programs(_made_by(folder / "cluster"))
    account = _unprivileged_account()
    home = _home(folder, account)
    with log.open("ab") as output:
        password = _initialised(home, programs, account, log, output)
        port = free_port()
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "timezone": "UTC",
            "shared_buffers": "128MB",
            "max_connections": "100",
            "jit": "off",  # costs 100 ms on STAC searches that take 5
            "fsync": "on" if durable else "off",
            "synchronous_commit": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
        }
        command = [str(programs / "postgres"), "-D", str(home / "cluster")]
        command += [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        url = f"postgresql://{USER}:{password}@127.0.0.1:{port}"
        # SIGINT is PostgreSQL's fast shutdown: SIGTERM would wait for every client.
        with child(command, output, stop=signal.SIGINT, account=account, cwd=home) as server:
            if parts is not None:
                parts["postgres"] = server
            _wait_for_postgres(f"{url}/postgres", server, log)
            with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
                known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [USER])
                if known.fetchone() is None:
                    connection.execute(f"CREATE DATABASE {USER}")
            yield f"{url}/{USER}"


@contextmanager
def redis(log: Path, *, at: Path | None = None, parts: Parts | None = None) -> Iterator[str]:
    """Run a private Redis on socket *at*, or one of its own; yields its URL. Raises CannotStart.

    Its process is added to *parts*. Nothing is kept: PostgreSQL knows every job, so a message that
    is lost is sent again.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise CannotStart("redis-server is missing: apt install redis-server, or set "
                          "OROGRAPH_BROKER_URL to a Redis or RabbitMQ of your own")  # fmt: skip
    with _socket(at) as path, log.open("ab") as output:
        command = [program, "--port", "0", "--unixsocket", str(path), "--unixsocketperm", "700"]
        command += ["--save", "", "--appendonly", "no", "--daemonize", "no"]
        command += ["--dir", str(path.parent)]
        with child(command, output, stop=signal.SIGTERM) as server:
            if parts is not None:
                parts["redis"] = server
            _wait_for(path.exists, server, "Redis", log)
            yield f"redis+socket://{path}?virtual_host=0"


@contextmanager
def _socket(wanted: Path | None) -> Iterator[Path]:
    """Yield *wanted*, free, or a path in a folder of its own where that one is too long."""
    if wanted is not None and len(os.fsencode(wanted)) <= SOCKET_PATH_BYTES:
        wanted.unlink(missing_ok=True)  # of one that was killed
        yield wanted
        return
    with tempfile.TemporaryDirectory(prefix="orograph-redis-") as folder:
        yield Path(folder) / "redis.sock"


@contextmanager
def child(
    command: Sequence[str],
    output: IO[bytes],
    *,
    stop: signal.Signals,
    account: str | None = None,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    patience_s: float = 20.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that dies with this process; ends it by *stop*, then by force.

    It lives as long as the *thread* that started it: call this from the main thread.
    """
    guard = ["setpriv", f"--pdeathsig={stop.name.removeprefix('SIG')}"]
    if account:
        # groups first, then the user: and the death signal is set after both, or it is cleared
        guard += [f"--reuid={account}", f"--regid={account}", "--init-groups"]
    process = subprocess.Popen(
        [*guard, *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env=env,
        start_new_session=True,  # Ctrl-C reaches us alone; we stop the parts in order
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _made_by(cluster: Path) -> int | None:
    """Return the version of the PostgreSQL that made a cluster: no other reads it."""
    known = cluster / "PG_VERSION"
    return int(known.read_text()) if known.is_file() else None


def _postgres_programs(wanted: int | None) -> Path:
    """Return the folder of the newest PostgreSQL that has PostGIS, or of that of version *wanted*.

    Raises CannotStart.
    """
    found = [path for pattern in POSTGRES_FOLDERS for path in Path("/").glob(pattern[1:])]
    found = [path for path in found if (path / "postgres").exists() and (path / "initdb").exists()]
    if not found:
        raise CannotStart("PostgreSQL is missing: apt install postgresql postgresql-15-postgis-3, "
                          "or set OROGRAPH_DATABASE_URL to a PostGIS of your own")  # fmt: skip
    found = [path for path in found if wanted in (None, _version(path))]
    if not found:
        raise CannotStart(f"the database was made by PostgreSQL {wanted}, which is missing: "
                          f"apt install postgresql-{wanted} postgresql-{wanted}-postgis-3, "
                          "or choose another OROGRAPH_DATA")  # fmt: skip
    for path in sorted(found, key=_version, reverse=True):
        shared = Path(_output([str(path / "pg_config"), "--sharedir"]).strip())
        if (shared / "extension/postgis.control").is_file():
            return path
    version = _version(max(found, key=_version))
    raise CannotStart(f"PostGIS is missing: apt install postgresql-{version}-postgis-3, "
                      "or set OROGRAPH_DATABASE_URL to a PostGIS of your own")  # fmt: skip


def _version(programs: Path) -> int:
    words = _output([str(programs / "postgres"), "--version"]).replace(".", " ").split()
    return int(next(word for word in words if word.isdigit()))


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _unprivileged_account() -> str | None:
    """Return the account PostgreSQL runs as when we are root, which it refuses to run as."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise CannotStart("PostgreSQL does not run as root and there is no account `postgres`")


def _home(folder: Path, account: str | None) -> Path:
    """Return the folder the cluster really lives in, owned by *account*.

    A data folder below a private one (a home of mode 0700) cannot be entered by the account that
    PostgreSQL runs as. Then the cluster lives in /var/lib/orograph and *folder* points to it.
    """
    folder = folder.absolute()  # another account may not walk to our working directory
    if folder.is_symlink() and not folder.exists():
        raise CannotStart(f"{folder} points to {os.readlink(folder)}, which is gone: remove it to "
                          "start with an empty database")  # fmt: skip
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        if account and not _may_enter(folder.parent, account):
            shelter = Path("/var/lib/orograph")
            shelter.mkdir(mode=0o755, parents=True, exist_ok=True)
            folder.symlink_to(tempfile.mkdtemp(prefix="postgres-", dir=shelter))
        else:
            folder.mkdir(mode=0o700)
    home = folder.resolve()
    if account:
        shutil.chown(home, account)
    if account and not _may_enter(home, account):
        raise CannotStart(f"{account} cannot enter {home}: make its parent folders "
                          "traversable (chmod o+x) or choose another OROGRAPH_DATA")  # fmt: skip
    return home


def _may_enter(folder: Path, account: str) -> bool:
    probe = ["setpriv", f"--reuid={account}", f"--regid={account}", "--init-groups"]
    return subprocess.run([*probe, "test", "-x", str(folder)]).returncode == 0


def _initialised(
    home: Path, programs: Path, account: str | None, log: Path, output: IO[bytes]
) -> str:
    """Create the cluster unless it is there; returns its password."""
    secret, cluster, part = home / "password", home / "cluster", home / "cluster.part"
    if cluster.is_dir():
        return secret.read_text().strip()
    shutil.rmtree(part, ignore_errors=True)
    password = secrets.token_urlsafe(24)
    secret.touch(mode=0o600)
    secret.write_text(password + "\n")
    if account:
        shutil.chown(secret, account)
    command = [str(programs / "initdb"), "-D", str(part), "-U", USER, "-A", "scram-sha-256"]
    command += ["--pwfile", str(secret), "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    with child(command, output, stop=signal.SIGTERM, account=account, cwd=home) as initdb:
        code = initdb.wait(START_S)
    if code != 0:
        raise CannotStart(f"no database can be made in {home}: {_last_line(log)} (more in {log})")
    part.rename(cluster)
    return password


def _wait_for_postgres(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        try:
            psycopg.connect(url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    _wait_for(answers, server, "PostgreSQL", log)


def _wait_for(
    ready: Callable[[], object], server: subprocess.Popen[bytes], name: str, log: Path
) -> None:
    end = time.monotonic() + START_S
    while not ready():
        if server.poll() is not None or time.monotonic() > end:
            raise CannotStart(f"{name} did not start: {_last_line(log)} (more in {log})")
        time.sleep(0.02)


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    faults = [line for line in lines if "FATAL" in line or "rror" in line]
    return (faults or lines or ["no message"])[-1]
