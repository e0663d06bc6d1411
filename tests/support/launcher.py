"""`hie` commands as processes of their own, forked from one that has read the code already.

Reading the code costs a command two seconds of processor time, the same each time; the tests
start some hundred. What is forked is a process like any other: its own memory, environment and
files, and it can be killed.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Launched:
    """One started command."""

    def __init__(self, launcher: "Launcher", pid: int) -> None:
        self._launcher = launcher
        self.pid = pid
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self._code is None:
            self._code = self._launcher.ask({"wait": self.pid})
        return self._code

    def wait(self, timeout: float) -> int:
        """Its exit code, once it has ended."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                self.send_signal(signal.SIGKILL)
                raise subprocess.TimeoutExpired("hie", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


class Launcher:
    """Starts commands; one process of its own, from the first start to the end of the tests."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.launcher", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        self._socket = ours
        self._answers = ours.makefile("rb")
        self._turn = threading.Lock()  # tests start several processes at once, from threads
        atexit.register(self._end)

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], out: Path, err: Path
    ) -> Launched:
        """Start `hie` with these arguments; what it prints is appended to the files."""
        request = {
            "arguments": list(arguments),
            "environment": dict(environment),
            "files": [str(out), str(err)],
        }
        return Launched(self, int(self.ask(request)))

    def ask(self, request: Mapping[str, Any]) -> Any:
        """One request to the process that forks, and its answer."""
        with self._turn:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            answer = self._answers.readline()
        if not answer:
            raise RuntimeError("the launcher has ended")
        return json.loads(answer)

    def _end(self) -> None:
        self._socket.close()
        self._answers.close()
        self._process.wait(timeout=10)


def _serve(channel: socket.socket) -> None:
    """Fork a command for each request until the other side closes."""
    running: set[int] = set()
    requests = channel.makefile("rb")
    for line in requests:
        request = json.loads(line)
        if "wait" in request:
            answer = _waited(request["wait"])
            running -= {request["wait"]} if answer is not None else set()
        else:
            answer = os.fork()
            if answer == 0:
                requests.close()
                channel.close()
                _run(request)
            running.add(answer)
        channel.sendall(json.dumps(answer).encode() + b"\n")
    for pid in running:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _waited(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


def _run(request: Mapping[str, Any]) -> None:
    """Be the command, and end with its exit code."""
    from hie.cli import main  # noqa: PLC0415 - read before the first fork

    code = 1
    try:
        for file, number in zip(request["files"], (1, 2), strict=True):
            opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            os.dup2(opened, number)
            os.close(opened)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.environ.clear()
        os.environ.update(request["environment"])
        os.chdir(ROOT)
        sys.argv = ["hie", *request["arguments"]]
        code = main(request["arguments"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - the process that forks must never go on here
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    importlib.import_module("hie.cli")
    gc.freeze()
    _serve(socket.socket(fileno=int(sys.argv[1])))
