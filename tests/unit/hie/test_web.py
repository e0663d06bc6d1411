"""What every HTTP surface shares; nothing of a request's path or query is written anywhere."""

import asyncio
import re
import ssl

import pytest
import structlog
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from structlog.testing import capture_logs

from hie.web import (
    MOST_SERIES,
    REQUEST_ID,
    SECONDS,
    Metrics,
    add_headers,
    route_of,
    setup,
)

CANARY = "Zzcanary"


async def served(request):
    kind = request.match_info.get("id", "")
    if kind == "boom":
        raise ValueError(CANARY)
    if kind == "teapot":
        raise web.HTTPConflict(text="taken")
    if kind == "stream":
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"part")
        return response
    own = {"X-Request-Id": "inner"} if kind == "inner" else {}
    return web.json_response({"id": request[REQUEST_ID], "route": route_of(request)}, headers=own)


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def checks():
    return {}


@pytest.fixture
async def client(metrics, checks):
    app = web.Application()
    setup(app, metrics, checks)
    app.router.add_get("/plain/{id}", served)
    inner = web.Application()
    inner.router.add_get("/{type}/{id}", served)
    app.add_subapp("/fhir", inner)
    async with TestClient(TestServer(app, access_log=None)) as client:
        yield client


@pytest.fixture
def logs():
    structlog.reset_defaults()
    with capture_logs() as captured:
        yield captured


async def test_a_request_is_known_by_the_id_its_client_gave_it_and_by_no_others(client):
    sent = {"X-Request-Id": "abc-1.2_3"}
    answers = [await client.get("/plain/x", headers=sent) for _ in range(2)]
    given = [answer.headers["X-Request-Id"] for answer in answers]
    assert given == [(await answer.json())["id"] for answer in answers]
    assert len(set(given)) == 2
    for answer, found in zip(answers, given, strict=True):
        assert re.fullmatch(r"abc-1\.2_3~[0-9a-f]{32}", found)
        assert answer.headers["X-Correlation-Id"] == "abc-1.2_3"


@pytest.mark.parametrize("sent", ["", "a b", "x" * 65, "a,b", '"a"', "a~0123456789abcdef"])
async def test_a_request_without_a_fit_id_is_given_one(client, sent):
    answer = await client.get("/plain/x", headers={"X-Request-Id": sent})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])
    assert "X-Correlation-Id" not in answer.headers


async def test_an_id_that_a_surface_set_itself_stays(client, logs):
    answer = await client.get("/plain/inner")
    assert answer.headers["X-Request-Id"] == logs[0]["request_id"] == "inner"


async def test_the_access_log_knows_the_template_and_not_the_address(client, logs):
    await client.get(f"/fhir/Patient/{CANARY}?name={CANARY}")
    (line,) = logs
    assert (line["event"], line["route"], line["method"]) == (
        "request",
        "/fhir/{type}/{id}",
        "GET",
    )
    assert line["status"] == 200
    assert line["duration_ms"] >= 0
    assert line["bytes"] > 0
    assert CANARY not in str(logs)


async def test_an_address_of_no_route_is_logged_without_it(client, logs):
    answer = await client.get(f"/{CANARY}")
    assert answer.status == 404
    assert (logs[0]["route"], logs[0]["status"]) == ("unmatched", 404)
    assert CANARY not in str(logs)
    assert "X-Request-Id" in answer.headers


async def test_a_refusal_raised_is_answered_and_logged_as_such(client, logs):
    answer = await client.get("/plain/teapot", headers={"X-Request-Id": "r"})
    assert (answer.status, answer.headers["X-Request-Id"][:2]) == (409, "r~")
    assert logs[0]["status"] == 409


async def test_what_nobody_caught_is_a_500_that_says_only_the_request_id(client, logs):
    answer = await client.get("/plain/boom", headers={"X-Request-Id": "r"})
    assert answer.status == 500
    request_id = answer.headers["X-Request-Id"]
    assert request_id.startswith("r~")
    assert await answer.json() == {"status": "failed", "request_id": request_id}
    assert [line["event"] for line in logs] == ["request.failed", "request"]


async def test_a_streamed_answer_is_headed_and_logged_too(client, logs):
    answer = await client.get("/plain/stream")
    assert await answer.read() == b"part"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert logs[0]["status"] == 200


async def test_health_and_metrics_are_not_worth_a_line(client, logs):
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert (await client.get(path)).status == 200
    assert {line["log_level"] for line in logs} == {"debug"}


async def test_every_answer_carries_the_protective_headers(client):
    for path in ("/plain/x", "/nowhere", "/plain/boom", "/health/live"):
        headers = (await client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Server"] == "hie"
        assert "Strict-Transport-Security" not in headers  # this connection has no TLS


async def test_over_tls_browsers_are_told_to_stay_with_it():
    response = web.Response()
    await add_headers(
        make_mocked_request("GET", "/", sslcontext=ssl.create_default_context()), response
    )
    assert response.headers["Strict-Transport-Security"].startswith("max-age=")


async def test_the_process_lives_whatever_fails(client, checks):
    checks["database"] = asyncio.Event().wait
    answer = await client.get("/health/live")
    assert (answer.status, await answer.json()) == (200, {"status": "live"})


async def yes():
    return True


async def no():
    return False


async def breaks():
    raise OSError(CANARY)


async def hangs():
    await asyncio.sleep(60)
    return True


@pytest.mark.parametrize(("check", "status"), [(yes, 200), (no, 503), (breaks, 503), (hangs, 503)])
async def test_the_hub_is_ready_when_every_check_holds_in_time(
    client, checks, check, status, monkeypatch
):
    monkeypatch.setattr("hie.web.CHECK_SECONDS", 0.05)
    checks |= {"journal": yes, "database": check}
    answer = await client.get("/health/ready")
    assert answer.status == status
    told = await answer.json()
    assert told["checks"] == {"journal": "ok", "database": "ok" if status == 200 else "failing"}
    assert CANARY not in str(told)


async def test_requests_are_counted_by_method_template_and_status(client):
    await client.get("/fhir/Patient/1")
    await client.get("/fhir/Patient/2")
    answer = await client.get("/metrics")
    text = await answer.text()
    assert answer.content_type == "text/plain"
    assert 'hie_http_requests_total{method="GET",route="/fhir/{type}/{id}",status="200"} 2' in text
    assert 'hie_http_request_seconds_count{method="GET",route="/fhir/{type}/{id}"} 2' in text
    assert "Patient" not in text


# --- metrics ----------------------------------------------------------------------------------


def test_metrics_are_rendered_in_prometheus_text():
    metrics = Metrics()
    messages = metrics.counter("hie_messages_total", "Messages.", "trigger")
    metrics.gauge("hie_parked", "Parked messages.", lambda: 3)
    messages.inc("ADT^A01")
    messages.inc("ADT^A01", by=2)
    assert metrics.render() == (
        "# HELP hie_messages_total Messages.\n"
        "# TYPE hie_messages_total counter\n"
        'hie_messages_total{trigger="ADT^A01"} 3\n'
        "# HELP hie_parked Parked messages.\n"
        "# TYPE hie_parked gauge\n"
        "hie_parked 3\n"
    )


def test_a_counter_without_labels_and_of_many_keeps_its_precision():
    metrics = Metrics()
    metrics.counter("hie_bytes_total", "Bytes.").inc(by=12_345_678)
    assert "hie_bytes_total 12345678\n" in metrics.render()


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [(0.001, "0.001"), (0.0011, "0.0025"), (10.0, "10.0"), (10.1, "+Inf")],
)
def test_a_duration_falls_into_the_first_bucket_it_does_not_exceed(seconds, bound):
    metrics = Metrics()
    metrics.histogram("hie_x_seconds", "X.").observe(seconds)
    lines = [line for line in metrics.render().splitlines() if "_bucket" in line]
    first = next(line for line in lines if line.endswith(" 1"))
    assert f'le="{bound}"' in first
    assert len(lines) == len(SECONDS) + 1


@pytest.mark.parametrize("value", ["O'Brien, Mary", "a b", "x" * 121, 'q"', "line\nbreak", "é"])
def test_a_label_that_is_no_name_or_template_becomes_other(value):
    metrics = Metrics()
    metrics.counter("hie_x_total", "X.", "kind").inc(value)
    assert 'hie_x_total{kind="other"} 1' in metrics.render()


def test_series_are_bounded():
    metrics = Metrics()
    counter = metrics.counter("hie_x_total", "X.", "kind")
    for n in range(MOST_SERIES + 50):
        counter.inc(str(n))
    text = metrics.render()
    assert text.count("hie_x_total{") == MOST_SERIES + 1
    assert 'hie_x_total{kind="other"} 50' in text


def test_a_counter_takes_a_value_for_each_of_its_labels():
    counter = Metrics().counter("hie_x_total", "X.", "kind")
    with pytest.raises(ValueError, match="1 label"):
        counter.inc()
