"""A PostgreSQL server of the tests' own: temporary folder, loopback port, gone afterwards."""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

START_SECONDS = 90
STOP_SECONDS = 20
_PR_SET_PDEATHSIG = 1


class NoPostgresError(Exception):
    """PostgreSQL's server programs are not on this machine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server with one superuser, `postgres`, trusted on loopback."""

    port: int
    data: Path

    def url(self, database: str) -> str:
        """The SQLAlchemy address of one of its databases."""
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{database}"

    def dsn(self, database: str = "postgres") -> str:
        """The same for the bare driver."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


def find_binaries() -> Path:
    """The folder of `initdb` and `postgres`, newest version first.

    Raises:
        NoPostgresError: there is none; `make postgresql` installs it.
    """
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda found: float(found.parts[-3]),
        reverse=True,
    )
    found = next(iter(versions), None) or shutil.which("initdb")
    if found is None:
        raise NoPostgresError("no `initdb` found; `make postgresql` installs PostgreSQL")
    return Path(found).resolve().parent


@contextlib.contextmanager
def running_server(*, is_durable: bool = False) -> Iterator[Server]:
    """A server from first start to removal of its folder.

    Args:
        is_durable: whether commits reach the disk and the server looks after its tables, as one
            in production does; off for speed.
    """
    binaries = find_binaries()
    owner = _owner()
    folder = Path(tempfile.mkdtemp(prefix="hie-postgres-"))
    try:
        if owner:
            shutil.chown(folder, owner)
        _initialise(binaries, folder / "data", owner)
        with _process(binaries, folder, owner, is_durable=is_durable) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _owner() -> str | None:
    """Whom to run as: PostgreSQL refuses root; anybody else runs it as himself."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


def _initialise(binaries: Path, data: Path, owner: str | None) -> None:
    subprocess.run(
        [
            binaries / "initdb",
            f"--pgdata={data}",
            "--username=postgres",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=data.parent,
        user=owner,
        group=_group(owner),
        extra_groups=[] if owner else None,
    )


def _group(owner: str | None) -> int | None:
    return pwd.getpwnam(owner).pw_gid if owner else None


@contextlib.contextmanager
def _process(
    binaries: Path, folder: Path, owner: str | None, *, is_durable: bool
) -> Iterator[Server]:
    port = free_port()
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(folder),
        "max_connections": "100",
        "shared_buffers": "1GB" if is_durable else "64MB",
        "fsync": "on" if is_durable else "off",
        "synchronous_commit": "on" if is_durable else "off",
        "full_page_writes": "on" if is_durable else "off",
        "autovacuum": "on" if is_durable else "off",
        "timezone": "UTC",
    }
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                str(binaries / "postgres"),
                "-D",
                str(folder / "data"),
                *(f"--{name.replace('_', '-')}={value}" for name, value in options.items()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            user=owner,
            group=_group(owner),
            extra_groups=[] if owner else None,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509 - one libc call
            start_new_session=True,  # Ctrl-C ends the tests first, then they end the server
        )
    try:
        _wait_until_ready(process, port, log)
        yield Server(port=port, data=folder / "data")
    finally:
        process.send_signal(signal.SIGINT)  # fast shutdown
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGQUIT)
            process.wait()


def _die_with_parent() -> None:
    """A test run that is killed leaves no server behind."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    pid_file = log.parent / "data" / "postmaster.pid"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        # The server writes its state as the eighth line of this file.
        with contextlib.suppress(OSError, IndexError):
            if pid_file.read_text().splitlines()[7].strip() == "ready":
                return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start on port {port}: {log.read_text()[-2000:]}")
