"""A watched folder: HL7 v2 files dropped into it are taken, and answered beside.

A sender writes under a name that is not taken (`*.tmp`, `*.part`, a leading dot) and renames
the file when it is whole; one written in place is taken once it has stopped growing. A file
goes through three places, each move one rename:

    FOLDER/name -> FOLDER/working/<batch>/name -> FOLDER/done/name     all accepted
                                               -> FOLDER/refused/name  anything was refused
                                                  and name.ack beside it: the answers

INVARIANT: a file in working/ is either being taken by the process that holds its lock, or was
left by one that died; it is then taken to its end, and no message of it twice.
Names of files never reach a log: senders put patients' numbers into them.
"""

import asyncio
import errno
import fcntl
import os
import stat
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from adapters.hl7v2.batch_intake import BatchIntake, BatchResult
from adapters.port import Peer, Wire
from hie.kernel.envelope import Severity
from hie.kernel.ids import SourceId

DONE: Final = "done"
REFUSED: Final = "refused"
WORKING: Final = "working"
#: Ends the name of an answer file.
ANSWER_END: Final = ".ack"

_UNFINISHED: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload", "~")
_LOCK: Final = ".lock"
_ANSWER: Final = ".answer"
_CHUNK_BYTES: Final = 256 * 1024
_LONGEST_NAME: Final = 200  # bytes; a longer one is kept under its batch's number
_LONGEST_PAUSE: Final = 300.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSettings:
    """One watched folder.

    Attributes:
        source_id: whose folder it is; None = any sender's, told by MSH-3 and MSH-4.
        seconds: between two looks; a file must not change for so long before it is taken.
        file_bytes: the longest file.
    """

    folder: Path
    source_id: SourceId | None
    seconds: float = 2.0
    file_bytes: int = 256 * 1024 * 1024


class _RefusedError(Exception):
    """A file that cannot be taken, with the rule and detail that say why."""

    def __init__(self, rule: str, detail: str = "") -> None:
        super().__init__(rule)
        self.rule = rule
        self.detail = detail


@dataclass(frozen=True, slots=True)
class _Found:
    """A file in the folder, as it looked."""

    name: str
    size: int
    changed_ns: int
    inode: int


class DropFolder:
    """Watches one folder."""

    def __init__(self, intake: BatchIntake, settings: DropSettings) -> None:
        self._intake = intake
        self._settings = settings
        self._folder = settings.folder
        self._peer = Peer(address="drop", wire=Wire.DROP, source_id=settings.source_id)
        self._seen: dict[str, _Found] = {}
        self._pauses: dict[int, tuple[float, float]] = {}  # batch: not before, pause
        self._is_away = False

    async def run(self) -> None:
        """Watch until cancelled; a file that is being taken then is resumed at the next start."""
        while True:
            try:
                await self.look()
                self._is_away = False
            except OSError as error:
                if not self._is_away:
                    _log.warning("drop.away", error=type(error).__name__)
                self._is_away = True
            await asyncio.sleep(self._settings.seconds)

    async def look(self) -> int:
        """Take what was left and what is ready; how many files were taken.

        Raises:
            OSError: the folder is not there, or may not be written.
        """
        await asyncio.to_thread(self._prepare)
        taken = 0
        for batch_id in await asyncio.to_thread(self._left):
            taken += await self._take(batch_id)
        for found in await asyncio.to_thread(self._ready):
            claimed = self._intake.book.new_id()
            if await asyncio.to_thread(self._claim, found.name, claimed):
                taken += await self._take(claimed)
        return taken

    def _prepare(self) -> None:
        """Make the places of a file, and refuse a folder whose places lead elsewhere."""
        for place in (DONE, REFUSED, WORKING):
            path = self._folder / place
            path.mkdir(mode=0o770, exist_ok=True)
            if path.is_symlink():
                raise NotADirectoryError(errno.ENOTDIR, "a place of the drop folder is a link")

    def _left(self) -> list[int]:
        """Batches that somebody began and nobody works on, oldest first."""
        now = time.monotonic()
        numbers = [int(p.name) for p in (self._folder / WORKING).iterdir() if p.name.isdigit()]
        return sorted(n for n in numbers if self._pauses.get(n, (0.0, 0.0))[0] <= now)

    def _ready(self) -> list[_Found]:
        """Files that have not changed since the last look, oldest first."""
        now = {found.name: found for found in self._listed()}
        ready = [found for name, found in now.items() if self._seen.get(name) == found]
        self._seen = now
        return sorted(ready, key=lambda found: (found.changed_ns, found.name))

    def _listed(self) -> list[_Found]:
        found = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                name = entry.name
                if name.startswith(".") or name.lower().endswith(_UNFINISHED):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    continue
                try:
                    looks = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue  # renamed or taken meanwhile
                found.append(_Found(name, looks.st_size, looks.st_mtime_ns, looks.st_ino))
        return found

    def _claim(self, name: str, batch_id: int) -> bool:
        """Move a file to its place of work; false where somebody else was faster."""
        place = self._folder / WORKING / str(batch_id)
        place.mkdir(mode=0o770)
        try:
            (self._folder / name).rename(place / name)
        except FileNotFoundError:
            with suppress(FileNotFoundError):
                place.rmdir()
            return False
        return True

    async def _take(self, batch_id: int) -> bool:
        """Take the file of a batch to its end; false where it waits or another process has it."""
        place = self._folder / WORKING / str(batch_id)
        lock = await asyncio.to_thread(_locked, place)
        if lock is None:
            return False
        try:
            name = await asyncio.to_thread(_file_of, place)
            # Between the making of a place and the move into it another process may look.
            if name:
                await self._answered(place, name, batch_id)
            await asyncio.to_thread(_clear, place)
        except Exception as error:  # noqa: BLE001 - the receive loop: what is taken stays, the rest waits
            self._postpone(batch_id, error)
            return False
        finally:
            os.close(lock)
        self._pauses.pop(batch_id, None)
        return bool(name)

    def _postpone(self, batch_id: int, error: Exception) -> None:
        _, last = self._pauses.get(batch_id, (0.0, self._settings.seconds / 2))
        pause = min(2 * last, _LONGEST_PAUSE)
        self._pauses[batch_id] = (time.monotonic() + pause, pause)
        _log.warning("drop.waits", error=type(error).__name__, seconds=pause)

    async def _answered(self, place: Path, name: str, batch_id: int) -> None:
        """Write the answers of a file, then put both where their sender looks for them."""
        with await asyncio.to_thread(_new_answer, place / _ANSWER) as answers:
            try:
                is_done = await self._worked_off(place / name, batch_id, answers)
            except _RefusedError as refused:
                is_done = False
                answers.write(self._intake.refusal(b"", refused.rule, refused.detail))
                _log.warning("drop.refused", rule=[refused.rule])
            answers.flush()
            await asyncio.to_thread(os.fsync, answers.fileno())
        target = self._folder / (DONE if is_done else REFUSED)
        await asyncio.to_thread(_put, place, name, target, batch_id)

    async def _worked_off(self, path: Path, batch_id: int, answers: BinaryIO) -> bool:
        """Whether every message of the file was accepted."""
        with await asyncio.to_thread(_opened, path, self._settings.file_bytes) as file:
            result = await self._intake.run(
                _chunks(file), self._peer, answers.write, batch_id=batch_id, name=path.name
            )
            is_whole = os.fstat(file.fileno()).st_size == file.tell()
        if not is_whole:
            # Its sender writes on: what came late was not read, and must not look as if it was.
            raise _RefusedError("unreadable", "file changed while it was taken")
        if not result.messages:
            raise _RefusedError("unreadable", "file holds no message")
        return _is_clean(result)


def _is_clean(result: BatchResult) -> bool:
    is_heavy = any(found.severity is Severity.ERROR for found in result.findings)
    return not result.refused and not is_heavy


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
        yield chunk


def _opened(path: Path, most: int) -> BinaryIO:
    """A file to read: a real one, not too long, and not another one behind a link."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise _RefusedError("unreadable", "expected a regular file") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise _RefusedError("unreadable", "file may not be read") from error
        raise
    looks = os.fstat(handle)
    if not stat.S_ISREG(looks.st_mode):
        os.close(handle)
        raise _RefusedError("unreadable", "expected a regular file")
    if looks.st_size > most:
        os.close(handle)
        raise _RefusedError("too-large", str(most))
    return os.fdopen(handle, "rb")


def _new_answer(path: Path) -> BinaryIO:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.fdopen(os.open(path, flags, 0o660), "wb")


def _locked(place: Path) -> int | None:
    """The lock of a place of work; None where another process has it, or has finished."""
    try:
        handle = os.open(place / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o660)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = (place / _LOCK).stat().st_ino == os.fstat(handle).st_ino
    except (BlockingIOError, FileNotFoundError):
        is_there = False
    if is_there:
        return handle
    os.close(handle)
    return None


def _file_of(place: Path) -> str:
    """The name of the file in a place of work; empty where it has none any more."""
    names = [path.name for path in place.iterdir() if path.name not in (_LOCK, _ANSWER)]
    return names[0] if names else ""


def _put(place: Path, name: str, target: Path, batch_id: int) -> None:
    """Move the answer, then the file; a name that is taken gets the batch's number behind it."""
    final = name if len(os.fsencode(name)) <= _LONGEST_NAME else str(batch_id)
    if os.path.lexists(target / final):
        final = f"{final}.{batch_id}"
    (place / _ANSWER).rename(target / f"{final}{ANSWER_END}")
    (place / name).rename(target / final)
    for folder in (target, place):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(handle)
        os.close(handle)


def _clear(place: Path) -> None:
    """Remove a place of work that holds no file any more."""
    for name in (_ANSWER, _LOCK):
        (place / name).unlink(missing_ok=True)
    place.rmdir()
