"""Looks at what the hub made of the story: through FHIR with tokens, and through its counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from hie.demo.checks import Evidence
from hie.demo.feed import Delivery
from hie.demo.hub import HubHandle
from hie.demo.reader import FhirReader, look
from hie.demo.scene import Scene
from hie.demo.score import Links, score
from hie.demo.summary import Look, Sent, Summary
from hie.demo.witness import Witness
from hie.kernel.fhir import FhirJson

_READ: Final = "system/*.rs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was sent: the totals, every delivery, and the time until all was worked off."""

    sent: Sent
    deliveries: Sequence[Delivery]
    seconds: float


async def collect(hub: HubHandle, scene: Scene, told: Told) -> Evidence:
    """What the summary shows and the checks judge."""
    links = await hub.view.links(list(scene.world.truth()))
    persons = _persons(scene, links)
    plan = scene.lists.plan.heroine
    tokens = {
        name: await hub.token(scope=_READ, organization=source.organization.value)
        for name, source in scene.sources.items()
    }
    async with FhirReader(hub.addresses.fhir) as reader:
        witness = Witness(reader, hub.view, tokens, persons)
        looks, seen = await _looks(hub, scene, reader, tokens, persons)
        held = await witness.held(seen, plan.reader, plan.held_codes)
        denials = await witness.denials(scene.world, scene.wishes)
        permitted, asked = await witness.permitted(scene.world, scene.wishes)
    return Evidence(
        deliveries=told.deliveries,
        summary=await _summary(hub, scene, told, links, looks),
        backlog=await hub.view.backlog(),
        heroine_links=_heroine_links(scene, links),
        held=held,
        denials=denials,
        permitted=permitted,
        asked=asked,
    )


def _persons(scene: Scene, links: Links) -> dict[int, str]:
    """The hub's person of each human; the last one told where it holds several."""
    return {known.person: links[known.key] for known in scene.world.truth() if known.key in links}


def _heroine_links(scene: Scene, links: Links) -> list[str]:
    number = scene.world.heroine.number
    truth = scene.world.truth()
    return [links[k.key] for k in truth if k.person == number and k.key in links]


async def _looks(
    hub: HubHandle,
    scene: Scene,
    reader: FhirReader,
    tokens: Mapping[str, str],
    persons: Mapping[int, str],
) -> tuple[list[Look], list[FhirJson]]:
    """The heroine as she, a permitted and a denied organisation see her; and the second's."""
    plan, person_id = scene.lists.plan.heroine, persons.get(scene.world.heroine.number)
    titles = {
        "herself": "",
        _name(scene, plan.reader): plan.reader,
        f"{_name(scene, plan.denied)} (denied)": plan.denied,
    }
    if person_id is None:
        return [Look(title=title, by_type={}, by_source={}) for title in titles], []
    own = await hub.token(scope="patient/*.rs", patient=person_id, purpose="PATRQT")
    looks, seen = [], {}
    for title, source in titles.items():
        token = tokens[source] if source else own
        view, seen[source] = await look(
            reader, hub.view, title=title, token=token, person_id=person_id
        )
        looks.append(view)
    return looks, seen[plan.reader]


async def _summary(
    hub: HubHandle, scene: Scene, told: Told, links: Links, looks: Sequence[Look]
) -> Summary:
    view, heroine = hub.view, scene.world.heroine
    denied = scene.lists.plan.heroine.denied
    return Summary(
        sent=told.sent,
        processing_seconds=told.seconds,
        messages=await view.messages_by_type_and_answer(),
        score=score(scene.world, links),
        review=await view.review_queue(),
        resources=await view.resources_by_type(),
        person=heroine.name,
        person_id=_persons(scene, links).get(heroine.number, ""),
        looks=looks,
        denied=denied,
        denied_name=_name(scene, denied),
        audit=await view.verify_audit(),
        addresses=hub.addresses,
        samples=hub.home / "demo",
    )


def _name(scene: Scene, source: str) -> str:
    return scene.sources[source].organization.name
