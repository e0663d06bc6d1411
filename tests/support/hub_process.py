"""A hub as its own process: started, fed over real sockets, killed, started again."""

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

from adapters.hl7v2.frame import frame
from tests.support.launcher import Launched, Launcher
from tests.support.ports import free_port

#: Long: a machine that is busy with others' tests may stand still for a while.
START_SECONDS = 180


@cache
def launcher() -> Launcher:
    """What starts the commands of these tests."""
    return Launcher()


class HubProcess:
    """`hie serve` on a folder of its own."""

    def __init__(self, home: Path, *roles: str, **settings: str) -> None:
        self.home = home
        self._roles = [argument for role in roles for argument in ("--role", role)]
        self.mllp_port, self.http_port = free_port(), free_port()
        self.log = home / f"serve-{self.http_port}.log" if roles else home / "serve.log"
        self._settings = settings
        self._process: Launched | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The settings that another `hie` command needs to work beside it."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HIE_")}
        return {
            **kept,
            "HIE_HOME": str(self.home),
            "HIE_HTTP_PORT": str(self.http_port),
            "HIE_MLLP_PORT": str(self.mllp_port),
            **self._settings,
        }

    def start(self) -> None:
        """Start and wait until it is ready."""
        self.home.mkdir(parents=True, exist_ok=True)
        self._process = launcher().start(
            ["serve", *self._roles], self.environment, self.log, self.log
        )
        deadline = time.monotonic() + START_SECONDS
        url = f"http://127.0.0.1:{self.http_port}/health/ready"
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(self.log.read_text()[-4000:])
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise TimeoutError("the hub did not become ready")

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
        self._process = None
        return process.wait(timeout=60)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another `hie` command beside it."""
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            process = launcher().start(arguments, self.environment, out, err)
            code = process.wait(timeout=120)
            return subprocess.CompletedProcess(
                arguments, code, stdout=out.read_text(), stderr=err.read_text()
            )


async def exchange(port: int, payloads: list[bytes], answers: list[bytes]) -> None:
    """Send payloads one after the other; `answers` grows by each answer as it comes.

    Ends quietly when the connection does: what was answered until then is in `answers`.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for payload in payloads:
            writer.write(frame(payload))
            await writer.drain()
            answers.append((await reader.readuntil(b"\x1c\r"))[1:-2])
    except (OSError, asyncio.IncompleteReadError):
        return
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
