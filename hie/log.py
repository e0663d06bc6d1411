"""JSON log lines of listed fields only.

An event is a literal in the code; what it carries must be on the list in `config/log.toml`,
else it is dropped. Exceptions are logged by type and place, without their text. A library's
message is not repeated at all, because it may be made of anything: its logger, file and line
say which it was.
"""

import json
import logging
import os
import sys
import tomllib
import traceback
from collections.abc import Iterable, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

import structlog

from hie.kernel.errors import Category, HieError

#: config/ beside the packages: the hub is installed in place.
FIELD_LIST: Final = Path(__file__).resolve().parent.parent / "config" / "log.toml"
#: Packages whose log calls are known to name literals.
OWN: Final = ("hie", "adapters", "fhir_server", "mpi", "consent")
ALWAYS: Final = ("time", "level", "event", "logger")
LONGEST_TEXT: Final = 300
LONGEST_LIST: Final = 20
LEVELS: Final = ("debug", "info", "warning", "error")
_FRAMES: Final = 8
_LIBRARY_EVENT: Final = "library"

Event = MutableMapping[str, Any]


def load_fields(path: Path) -> frozenset[str]:
    """The listed fields.

    Args:
        path: `config/log.toml`.

    Raises:
        HieError: INVALID when the file is not a list of names.
    """
    try:
        fields = tomllib.loads(path.read_text())["fields"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(path) from error
    if not isinstance(fields, list) or not all(isinstance(name, str) for name in fields):
        raise _unreadable(path)
    return frozenset(fields)


def configure_logging(
    file: Path | None = None,
    *,
    fields: Iterable[str] | None = None,
    level: str = "info",
    stream: TextIO | None = None,
) -> None:
    """Set up structlog and the standard library's logging; once a process, at its start.

    Args:
        file: lines are appended here, readable by its owner alone; None = to `stream`.
        fields: what a line may carry besides `ALWAYS`; None = the list of `config/log.toml`.
        level: `debug`, `info`, `warning` or `error`.
        stream: standard error unless given.
    """
    listed = load_fields(FIELD_LIST) if fields is None else fields
    threshold = getattr(logging, level.upper())
    finish = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_from_library, structlog.stdlib.add_log_level],
        processors=[Listed(listed), _render],
    )
    handler = logging.StreamHandler(stream or sys.stderr) if file is None else _file_handler(file)
    handler.setFormatter(finish)
    # A line that cannot be written is lost; telling so would repeat it unfiltered.
    logging.raiseExceptions = False
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(threshold)
    # Libraries speak up only for trouble; their access logs hold query strings.
    for name in ("aiohttp", "sqlalchemy", "asyncio", "aiosqlite"):
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
    # What a job raises is told once, by hie.jobs.
    logging.getLogger("apscheduler").setLevel(logging.CRITICAL)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            _exception_as_place,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _file_handler(file: Path) -> logging.Handler:
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(file, os.O_CREAT | os.O_APPEND, 0o600))
    return logging.FileHandler(file, encoding="ascii")


class Listed:
    """Keeps the listed fields of an event, shortened to a line's worth."""

    def __init__(self, fields: Iterable[str]) -> None:
        self._fields = (*ALWAYS, *sorted(set(fields) - set(ALWAYS)))

    def __call__(self, _logger: Any, _name: str, event: Event) -> Event:
        """The event with nothing but listed fields of plain values."""
        if isinstance(event.get("request_id"), str):
            # Before it stands what the client called the request: anything, a patient's number too.
            event["request_id"] = event["request_id"].rpartition("~")[2]
        event["time"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        kept = {name: _plain(event[name]) for name in self._fields if name in event}
        return {name: value for name, value in kept.items() if value is not None}


def frames_of(error: BaseException) -> list[str]:
    """Where an exception was raised, innermost last: `hie/access.py:120`."""
    found = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}" for frame in found]


def _exception_as_place(_logger: Any, _name: str, event: Event) -> Event:
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event.update(_described(error))
    return event


def _from_library(_logger: Any, _name: str, event: Event) -> Event:
    """A record of the standard library's logging as an event."""
    record: logging.LogRecord = event["_record"]
    made: dict[str, Any] = {"logger": record.name}
    if record.name.partition(".")[0] in OWN:
        # The template alone: arguments may be anything, `extra` passes the list.
        made |= {"event": str(record.msg), **_extra(record)}
    else:
        made |= {"event": _LIBRARY_EVENT, "frames": [_place(record)]}
    if record.exc_info and record.exc_info[1]:
        place = made.get("frames", [])
        made |= _described(record.exc_info[1])
        made["frames"] = [*place, *made["frames"]]
        record.exc_info = None
    for name in ("_record", "_from_structlog"):
        made[name] = event[name]
    return made


def _described(error: BaseException) -> Mapping[str, Any]:
    return {"error": type(error).__name__, "frames": frames_of(error)}


def _extra(record: logging.LogRecord) -> Mapping[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


_STANDARD: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName", "_logger", "_name"}
)


def _place(record: logging.LogRecord) -> str:
    return f"{'/'.join(Path(record.pathname).parts[-2:])}:{record.lineno}"


def _plain(value: Any) -> Any:
    """The value if it is a number, a yes or no, a short text or a list of these."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value[:LONGEST_TEXT]
    if isinstance(value, list | tuple):
        return [p for p in map(_plain, value[:LONGEST_LIST]) if p is not None]
    return None


def _render(_logger: Any, _name: str, event: Event) -> str:
    # ASCII: neither half a surrogate pair nor a line separator can break a line.
    return json.dumps(event, sort_keys=True, separators=(",", ":"))


def _unreadable(path: Path) -> HieError:
    text = f"`{path.name}`: `fields` must be a list of field names"
    return HieError(Category.INVALID, text)
