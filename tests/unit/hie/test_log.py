"""Log lines: JSON, listed fields, no patient's data."""

import io
import json
import logging
import warnings
from datetime import datetime

import pytest
import structlog

from hie import log
from hie.kernel.errors import Category, HieError

CANARY = "Zz-canary"


@pytest.fixture
def stream():
    root = logging.getLogger()
    kept = (root.handlers, root.level, logging.raiseExceptions)
    buffer = io.StringIO()
    log.configure_logging(stream=buffer)
    yield buffer
    logging.captureWarnings(capture=False)
    root.handlers, root.level, logging.raiseExceptions = kept
    structlog.reset_defaults()


def lines(stream):
    assert CANARY not in stream.getvalue()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def fail():
    raise ValueError(CANARY)


def test_a_line_is_json_with_time_level_event_and_logger(stream):
    structlog.get_logger("hie.x").info("message.parked", source="ghh", count=2)
    (line,) = lines(stream)
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "info",
        "event": "message.parked",
        "logger": "hie.x",
        "source": "ghh",
        "count": 2,
    }


def test_a_field_that_is_not_listed_is_dropped(stream):
    structlog.get_logger("hie.x").info("e", patient=CANARY, name=CANARY, source="ghh")
    (line,) = lines(stream)
    assert set(line) == {"time", "level", "event", "logger", "source"}


@pytest.mark.parametrize("value", [{"family": CANARY}, object(), b"Zz-canary", [{"x": CANARY}]])
def test_a_listed_field_of_another_kind_carries_nothing(stream, value):
    structlog.get_logger("hie.x").info("e", reason=value)
    (line,) = lines(stream)
    assert line.get("reason", []) == []


def test_long_texts_and_lists_are_cut(stream):
    structlog.get_logger("hie.x").info("e", reason="a" * 1_000, frames=["x"] * 100)
    (line,) = lines(stream)
    assert (len(line["reason"]), len(line["frames"])) == (log.LONGEST_TEXT, log.LONGEST_LIST)


def test_an_exception_is_its_type_and_its_place(stream):
    try:
        fail()
    except ValueError:
        structlog.get_logger("hie.x").exception("boom")
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["error"]) == ("boom", "error", "ValueError")
    assert line["frames"][-1].startswith("hie/test_log.py:")


@pytest.mark.parametrize("form", ["error", "tuple"])
def test_an_exception_handed_over_is_told_the_same_way(stream, form):
    error = ValueError(CANARY)
    given = error if form == "error" else (ValueError, error, None)
    structlog.get_logger("hie.x").error("boom", exc_info=given)
    (line,) = lines(stream)
    assert (line["error"], line["frames"]) == ("ValueError", [])


def test_asking_for_an_exception_where_there_is_none_is_harmless(stream):
    structlog.get_logger("hie.x").error("calm", exc_info=True)
    assert lines(stream)[0]["event"] == "calm"


def test_the_standard_librarys_logging_tells_our_template_and_listed_extras(stream):
    logging.getLogger("hie.y").warning(
        "fault at %s", CANARY, extra={"request_id": "r", "patient": CANARY}
    )
    (line,) = lines(stream)
    assert (line["event"], line["request_id"]) == ("fault at %s", "r")


def test_a_librarys_words_are_not_repeated_but_found_by_their_place(stream):
    try:
        fail()
    except ValueError as error:
        made_of_anything = f"future: {error}"
        logging.getLogger("asyncio").exception(made_of_anything)
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["error"]) == ("library", "asyncio", "ValueError")
    assert all(frame.startswith("hie/test_log.py:") for frame in line["frames"])
    assert len(line["frames"]) == 3  # where it was logged, and the two places of the error


def test_access_logs_of_libraries_are_silent(stream):
    logging.getLogger("aiohttp.access").info("GET /fhir/Patient?name=%s", CANARY)
    assert lines(stream) == []


def test_a_warning_is_a_line_too(stream):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(CANARY, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert [line["logger"] for line in lines(stream)] == ["py.warnings"]


def test_what_is_below_the_level_is_not_told(stream):
    structlog.get_logger("hie.x").debug("e")
    assert lines(stream) == []


def test_no_text_can_break_a_line(stream):
    structlog.get_logger("hie.x").info("e", reason="a\nb\u2028c\ud800")
    (line,) = lines(stream)
    assert line["reason"] == "a\nb\u2028c\ud800"


def test_the_level_is_chosen(stream):
    log.configure_logging(fields=[], level="error", stream=stream)
    structlog.get_logger("hie.x").warning("quiet")
    structlog.get_logger("hie.x").error("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


def test_lines_may_go_to_a_file_for_its_owner_only(stream, tmp_path):
    file = tmp_path / "logs" / "hub.jsonl"
    log.configure_logging(file)
    structlog.get_logger("hie.x").info("e", source="ghh")
    (handler,) = logging.getLogger().handlers
    handler.close()
    assert json.loads(file.read_text())["source"] == "ghh"
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", ["", "fields = 7", "fields = [7]", "not toml", None])
def test_a_list_that_is_none_is_refused_by_name(tmp_path, content):
    path = tmp_path / "log.toml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(HieError) as caught:
        log.load_fields(path)
    assert caught.value.category is Category.INVALID
    assert "log.toml" in caught.value.text


def test_what_a_client_calls_its_request_is_not_logged(stream):
    structlog.get_logger("hie.x").info("request", request_id=f"{CANARY}~0a1b")
    structlog.get_logger("hie.x").info("request", request_id="2c3d")
    assert [line["request_id"] for line in lines(stream)] == ["0a1b", "2c3d"]
    assert CANARY not in stream.getvalue()
