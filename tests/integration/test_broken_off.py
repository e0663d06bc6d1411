"""Who goes away while sending is no trouble of the hub's, nor of its database."""

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hie.kernel.errors import Category, HieError
from hie.staff import rim
from tests.support.running_hub import running_hub


async def test_a_sender_that_goes_away_in_the_middle_of_a_body_raises_no_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    async with running_hub(tmp_path / "home") as hub:
        token = await hub.token("saint-aurelia")
        _, writer = await asyncio.open_connection("127.0.0.1", hub.hub.site.port)
        lines = (
            "POST /fhir/Patient HTTP/1.1",
            "Host: hub",
            f"Authorization: Bearer {token}",
            "Content-Type: application/fhir+json",
            "Content-Length: 500",
        )
        writer.write("\r\n".join([*lines, "", "{"]).encode())
        await writer.drain()
        await asyncio.sleep(0.3)  # until the body is being read
        writer.close()
        await asyncio.sleep(0.3)  # until that was seen
    told = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert [message for message in told if message.startswith("fhir.")] == []


@pytest.mark.parametrize("lost", [ConnectionResetError(), TimeoutError()])
async def test_nor_does_a_caller_of_the_staff_api(lost: OSError):
    async def chunks(_: int) -> Any:
        yield b"{"
        raise lost

    request: Any = SimpleNamespace(content=SimpleNamespace(iter_chunked=chunks), content_length=500)
    with pytest.raises(HieError, match="broke off") as refused:
        await rim._body(request, 1000)
    assert refused.value.category is Category.INVALID
