"""One run of the demo: feed the hub, wait, look, tell - and check, when asked to."""

import asyncio
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hie.demo.certificates import DemoCertificates, demo_certificates
from hie.demo.checks import check
from hie.demo.collect import Told, collect
from hie.demo.feed import Routes, send_all
from hie.demo.hub import HubHandle
from hie.demo.lists import load_lists
from hie.demo.progress import Progress
from hie.demo.scene import Scene, leave_samples, set_scene
from hie.demo.summary import HubView, render
from hie.kernel.errors import Category, HieError

_WORKED_OFF_SECONDS: Final = 600.0
_POLL_SECONDS: Final = 0.25
_TELL_SECONDS: Final = 2.0
_WRITE: Final = "system/*.cruds"


def prepare_tls(home: Path, config: Path) -> DemoCertificates:
    """Server and client certificates under `$HIE_HOME/tls`; call it before the hub starts."""
    senders = load_lists(config / "demo").senders.values()
    clients = [sender.source for sender in senders if sender.wire == "tls"]
    return demo_certificates(home / "tls", clients, datetime.now(UTC))


async def run_demo(hub: HubHandle, once: bool) -> int:
    """Feed the hub and print what came of it.

    Args:
        hub: a hub that is starting or has started.
        once: check the outcome too.

    Returns:
        0; with `once` 1 when an expectation was not met.

    Raises:
        HieError: BUSY when the hub does not work off what it acknowledged.
    """
    scene = set_scene(hub.config)
    leave_samples(hub.home / "demo", scene)
    await hub.wait_until_ready()
    told = await _tell(hub, scene)
    evidence = await collect(hub, scene, told)
    print(render(evidence.summary, is_staying=not once))
    if not once:
        return 0
    results = check(evidence, scene.lists)
    print("\nChecks\n------")
    for result in results:
        print(result)
    return 0 if all(result.is_met for result in results) else 1


async def _tell(hub: HubHandle, scene: Scene) -> Told:
    """Send the messages and then, when everybody is known, what they wish."""
    begun = time.monotonic()
    routes = Routes(
        addresses=hub.addresses,
        certificates=prepare_tls(hub.home, hub.config),
        tokens={
            name: await hub.token(scope=_WRITE, organization=source.organization.value)
            for name, source in scene.sources.items()
        },
    )
    people = len(scene.world.people)
    print(f"{scene.messages:,} messages about {people} synthetic people, five sources:")
    progress = Progress(scene.messages, sys.stdout)
    senders = scene.lists.senders
    first, messages = await send_all(scene.feeds, senders, routes, progress)
    await _worked_off(hub.view)
    second, consents = await send_all(scene.consents, senders, routes, progress)
    progress.finish()
    await _worked_off(hub.view)
    return Told(
        sent=first.plus(second),
        deliveries=(*messages, *consents),
        seconds=time.monotonic() - begun,
    )


async def _worked_off(view: HubView) -> None:
    """Wait until nothing that was acknowledged is waiting."""
    begun = told = time.monotonic()
    while waiting := await view.backlog():
        now = time.monotonic()
        if now - begun > _WORKED_OFF_SECONDS:
            raise HieError(Category.BUSY, f"{waiting} messages are still not worked off")
        if now - told > _TELL_SECONDS:
            told = now
            print(f"  acknowledged and still to be worked off: {waiting:,}", flush=True)
        await asyncio.sleep(_POLL_SECONDS)
