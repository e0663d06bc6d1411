"""The running hub as the demo holds it: addresses, tokens, and counts beside the FHIR API."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hie.app import Hub
from hie.demo.score import Links
from hie.demo.summary import Addresses, AuditCheck, HubView, MessageCount
from hie.demo.world import KnownAs
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.ids import SourceId


class DemoHandle:
    """A hub for `run_demo`."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.config: Path = hub.settings.config
        self.home: Path = hub.settings.home
        self.view: HubView = HubCounts(hub)
        listen = hub.settings.listen
        self.addresses = Addresses(
            host=listen.host,
            http_port=listen.http_port,
            mllp_port=hub.receivers[0].port,
            mllps_port=hub.receivers[-1].port,
        )

    async def wait_until_ready(self) -> None:
        """The hub is handed over started."""

    async def token(
        self,
        *,
        scope: str,
        organization: str | None = None,
        patient: str | None = None,
        purpose: str = "TREAT",
    ) -> str:
        """A bearer token, as `hie token` gives it."""
        return await self._hub.issue_token(
            scope=scope,
            organization=organization or "",
            patient=patient or "",
            purpose=purpose,
        )


class HubCounts:
    """What the summary asks of the hub."""

    def __init__(self, hub: Hub) -> None:
        self._overview = hub.overview

    async def messages_by_type_and_answer(self) -> Sequence[MessageCount]:
        """The journal, counted."""
        return [
            MessageCount(
                wire=c.wire, trigger=c.trigger, answer=c.answer, state=c.state, count=c.count
            )
            for c in await self._overview.messages()
        ]

    async def backlog(self) -> int:
        """Messages acknowledged and still to be worked off."""
        return await self._overview.backlog()

    async def links(self, known: Sequence[KnownAs]) -> Links:
        """The current person of each number; those the hub does not know are left out."""
        asked = {
            (SourceId(k.source), SourceIdentifier(system=k.system, value=k.value)): k for k in known
        }
        found = await self._overview.persons(asked)
        return {asked[key].key: str(person) for key, person in found.items()}

    async def review_queue(self) -> Mapping[str, int]:
        """Open identity tasks by reason."""
        return await self._overview.review_queue()

    async def resources_by_type(self) -> Mapping[str, int]:
        """Current, undeleted resources by type."""
        return await self._overview.resources_by_type()

    async def sources_of(self, references: Sequence[str]) -> Mapping[str, str]:
        """The source id of each `Type/id`."""
        return await self._overview.sources_of(references)

    async def verify_audit(self) -> AuditCheck:
        """The audit trail, verified from its first row."""
        found = await self._overview.verify_audit()
        fault = "" if found.tamper is None else f"{found.tamper.kind.value} at {found.tamper.seq}"
        return AuditCheck(events=found.size, unchained=found.unchained, fault=fault)
