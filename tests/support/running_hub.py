"""A hub in the test's own process, on free ports, asked over HTTP and MLLP as anybody asks."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from adapters.hl7v2.frame import frame
from hie.app import Hub
from hie.kernel.fhir import FhirJson
from hie.settings import load_settings
from tests.support.made_once import config_of, with_tables
from tests.support.ports import free_port


class RunningHub:
    """A started hub and one HTTP client."""

    def __init__(self, hub: Hub, session: aiohttp.ClientSession) -> None:
        self.hub = hub
        self.base = f"http://127.0.0.1:{hub.site.port}/fhir"
        self._session = session

    async def token(self, organization: str = "", **more: Any) -> str:
        """A bearer token with all rights of an organisation, or a patient's."""
        scope = more.pop("scope", "system/*.cruds")
        return await self.hub.issue_token(scope=scope, organization=organization, **more)

    async def ask(
        self,
        token: str,
        path: str,
        body: object = None,
        method: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, FhirJson]:
        """Status and parsed body of one FHIR request."""
        sent = {"Authorization": f"Bearer {token}", **(headers or {})}
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/fhir+json")
        async with self._session.request(
            method or ("GET" if body is None else "POST"),
            f"{self.base}/{path}" if path else self.base,
            data=_streamed(data),
            headers=sent,
        ) as answer:
            content = await answer.read()
            return answer.status, json.loads(content) if content else {}

    def request(
        self, method: str, path: str, body: bytes | None, token: str = "", **headers: str
    ) -> Any:
        """One FHIR request as a context; its response not yet read, its headers at hand."""
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        if body is not None:
            sent["Content-Type"] = "application/fhir+json"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"{self.base}/{path}" if path else self.base
        return self._session.request(method, url, data=_streamed(body), headers=sent)

    async def send(self, *payloads: bytes) -> list[bytes]:
        """Send messages over one MLLP connection; the answers, once all are worked off."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.hub.receivers[0].port)
        answers = []
        try:
            for payload in payloads:
                writer.write(frame(payload))
                await writer.drain()
                answers.append((await reader.readuntil(b"\x1c\r"))[1:-2])
        finally:
            writer.close()
            await writer.wait_closed()
        await self.hub.worker.idle()
        return answers


def _streamed(body: bytes | None) -> Any:
    """A body as the client takes it: a large one part by part."""
    return io.BytesIO(body) if body is not None and len(body) > 2**20 else body


@asynccontextmanager
async def running_hub(home: Path, **settings: str) -> AsyncIterator[RunningHub]:
    """A hub of its own folder, started; stopped on exit."""
    environment = {
        "HIE_HOME": str(home),
        "HIE_HTTP_PORT": str(free_port()),
        "HIE_MLLP_PORT": str(free_port()),
        **settings,
    }
    read = load_settings(environment)
    if "HIE_DATABASE_URL" not in settings or not settings["HIE_DATABASE_URL"]:
        await with_tables(home / "hub.db")
    async with Hub(read, config=config_of(read)) as hub, aiohttp.ClientSession() as session:
        await hub.start()
        yield RunningHub(hub, session)
