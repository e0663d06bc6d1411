"""Commands about Consents: rebuild."""

import asyncio

from hie.commands.parser import Group, command, settings_of
from hie.flow.rebuild import rebuild_consents
from hie.services import Services
from hie.settings import Settings


def register(group: Group) -> None:
    """Add the commands about Consents."""
    consents = group.add_parser("consent", help="Compile the rules of Consents anew.")
    actions = consents.add_subparsers(title="actions", required=True, metavar="ACTION")
    command(
        actions,
        "rebuild",
        "Compile the rules of every Consent anew; needed after `attested_verification` or "
        "config/consent changed.",
        lambda _: asyncio.run(rebuild(settings_of())),
    )


async def rebuild(settings: Settings) -> int:
    """Compile every person's Consents; what they say holds from the next request on."""
    async with Services(settings) as hub:
        count = await rebuild_consents(hub.db, hub.repository, hub.placer)
    print(f"the Consents of {count} persons are compiled anew")
    return 0
