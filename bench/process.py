"""Processes under measurement: started on free ports, waited for, stopped."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A running hub of its own data folder."""

    home: Path
    http_port: int
    mllp_port: int
    mllps_port: int
    pid: int
    others: Mapping[str, str]

    @property
    def fhir(self) -> str:
        """Its FHIR base address."""
        return f"http://127.0.0.1:{self.http_port}/fhir"

    def environment(self) -> dict[str, str]:
        """The settings another `hie` command needs to work beside it."""
        return {
            **os.environ,
            **_settings(self.home, self.http_port, self.mllp_port, self.mllps_port),
            **self.others,
        }

    def command(self, *arguments: str) -> str:
        """Standard output of another `hie` command on the same data folder."""
        return subprocess.run(
            [sys.executable, "-m", "hie", *arguments],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()


@contextlib.contextmanager
def running(arguments: list[str], port: int, environment: Mapping[str, str]) -> Iterator[int]:
    """A Python process that listens on a port; its process id."""
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=dict(environment), stderr=subprocess.DEVNULL
    ) as process:
        try:
            _wait_for(port, process)
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)


@contextlib.contextmanager
def running_hub(home: Path, database_url: str = "", key_file: str = "") -> Iterator[Hub]:
    """A hub in its usual configuration, ready; on SQLite unless a database is named."""
    others = {"HIE_DATABASE_URL": database_url, "HIE_KEY_FILE": key_file}
    with _hub(home, ["-m", "hie", "serve"], others) as hub:
        _wait_until_ready(hub)
        yield hub


@contextlib.contextmanager
def running_receiver(home: Path, **more: str) -> Iterator[Hub]:
    """The same hub that receives and works nothing off; `more` settings."""
    with _hub(home, ["-m", "bench.receiver"], None, **more) as hub:
        yield hub


@contextlib.contextmanager
def _hub(
    home: Path, arguments: list[str], others: Mapping[str, str] | None = None, **more: str
) -> Iterator[Hub]:
    ports = (free_port(), free_port(), free_port())
    others = others or {}
    environment = {**os.environ, **_settings(home, *ports), **others, **more}
    http_port, mllp_port, mllps_port = ports
    with running(arguments, mllps_port if more else mllp_port, environment) as pid:
        yield Hub(
            home=home,
            http_port=http_port,
            mllp_port=mllp_port,
            mllps_port=mllps_port,
            pid=pid,
            others=others,
        )


def _settings(home: Path, http_port: int, mllp_port: int, mllps_port: int) -> dict[str, str]:
    return {
        "HIE_HOME": str(home),
        "HIE_HTTP_PORT": str(http_port),
        "HIE_MLLP_PORT": str(mllp_port),
        "HIE_MLLPS_PORT": str(mllps_port),
        "HIE_PROFILE": "development",
        # Where no patient has said otherwise, who treats may see: what is asked has an answer.
        "HIE_REGIME": "hipaa-treatment",
    }


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the process ended with {process.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def _wait_until_ready(hub: Hub) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(urllib.error.URLError, OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{hub.http_port}/health/ready", timeout=2),
        ):
            return
        time.sleep(0.05)
    raise TimeoutError("the hub is not ready")


def cpu_seconds(pid: int) -> float:
    """Processor time a process has used, its threads' and the kernel's for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
