"""Services without listeners: messages are journaled and worked off one by one, then looked at."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import select

from adapters.hl7v2 import er7
from adapters.hl7v2.judge import partitions_of
from adapters.message import Message, State
from adapters.port import JournalEntry, Wire
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, SourceId
from hie.services import Services
from hie.settings import load_settings
from hie.store.tables import resource
from tests.support.made_once import config_of, with_tables

#: A source of config/sources with a time zone and an authority of its own.
SOURCE = SourceId("bayside-general")


class Feeding:
    """A hub's services and a source that feeds them."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def take(self, *payloads: bytes, source: SourceId = SOURCE) -> list[MessageId]:
        """Journal messages without working them off."""
        taken = []
        for payload in payloads:
            message = er7.parse(payload)
            partitions = partitions_of(message, self.services.config.sources.by_id(source))
            entry = JournalEntry(
                source_id=source,
                wire=Wire.MLLP,
                control_id=message.segments[0].value(10),
                payload=payload,
                content_hash=hashlib.sha256(payload).digest(),
                is_accepted=True,
                trigger=message.trigger,
                partition=partitions[0],
                partitions=partitions[1:],
                findings=(),
                answer=b"MSA|AA",
            )
            taken.append((await self.services.journal.write(entry)).message_id)
        return taken

    async def send(self, *payloads: bytes, source: SourceId = SOURCE) -> list[Message]:
        """Journal messages and work each off before the next comes; as they were settled."""
        found = []
        for payload in payloads:
            (message_id,) = await self.take(payload, source=source)
            while await self.services.worker.work_off_batch():
                pass
            found.append(await self.message(message_id))
        return found

    async def message(self, message_id: MessageId) -> Message:
        """A journaled message."""
        async with self.services.db.reading() as conn:
            found = await self.services.journal.get(conn, message_id)
        assert found is not None
        return found

    async def stored(self, *types: str) -> dict[tuple[str, str], FhirJson | None]:
        """Current resources of some types by type and id; None for a deleted one."""
        services, index = self.services, self.services.config.index
        async with services.db.reading() as conn:
            rows = (
                await conn.execute(
                    select(resource.c.type_id, resource.c.id, resource.c.deleted).where(
                        resource.c.type_id.in_([index.type_id(name) for name in types])
                    )
                )
            ).all()
            names = {(index.type_name(row.type_id), row.id): bool(row.deleted) for row in rows}
            loaded = await services.repository.load(conn, names)
        return {name: None if gone else loaded[name].resource for name, gone in names.items()}

    async def one(self, kind: str) -> FhirJson | None:
        """The one resource of a type."""
        ((_, found),) = (await self.stored(kind)).items()
        return found


def rules(message: Message) -> set[str]:
    """What was found in a message once it was worked off, by the names of the rules."""
    assert message.state is State.PROCESSED, (message.stage, message.reason)
    return {finding.rule for finding in message.findings}


@asynccontextmanager
async def feeding(home: Path, **settings: str) -> AsyncIterator[Feeding]:
    """Services on a folder of their own."""
    read = load_settings({"HIE_HOME": str(home), **settings})
    if not settings.get("HIE_DATABASE_URL"):
        await with_tables(home / "hub.db")
    async with Services(read, config=config_of(read)) as services:
        yield Feeding(services)
