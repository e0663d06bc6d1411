"""The command about who may: token."""

import argparse
import asyncio

from hie.commands.parser import Group, command, settings_of
from hie.kernel.errors import Category, HieError
from hie.services import Services
from hie.settings import Settings


def register(group: Group) -> None:
    """Add the command."""
    arguments = command(
        group,
        "token",
        "Print a bearer token for the FHIR API or, with a staff/ scope, the staff API; audited.",
        lambda a: asyncio.run(token(settings_of(), a)),
    )
    arguments.add_argument(
        "--scope", default="system/*.rs", help='"system/*.cruds", "staff/identity.steward"'
    )
    arguments.add_argument("--organization", default="", help="id or identifier of who asks")
    arguments.add_argument(
        "--purpose", default="", help="v3-ActReason code; TREAT, and HOPERAT for staff scopes"
    )
    arguments.add_argument("--patient", default="", help="person whose own record it opens")
    arguments.add_argument("--user", default="", help="who sits at the screen")
    arguments.add_argument(
        "--amr", default="", help='how the user signed in (RFC 8176), "pwd otp"; for emergencies'
    )
    arguments.add_argument(
        "--role", action="append", default=[], help="code of a role the user acts in; repeatable"
    )
    arguments.add_argument("--ttl", type=int, default=3600, metavar="SECONDS")


async def token(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print a bearer token and nothing else."""
    if not settings.auth_cli_tokens:
        text = "`auth_cli_tokens` is false: tokens come from sign-in in this profile"
        raise HieError(Category.FORBIDDEN, text)
    async with Services(settings) as hub:
        print(
            await hub.issue_token(
                scope=arguments.scope,
                organization=arguments.organization,
                purpose=arguments.purpose or _usual_purpose(arguments.scope),
                patient=arguments.patient,
                user=arguments.user,
                amr=tuple(arguments.amr.split()),
                roles=tuple(arguments.role),
                ttl_seconds=arguments.ttl,
            )
        )
    return 0


def _usual_purpose(scope: str) -> str:
    return "HOPERAT" if scope.startswith("staff/") else "TREAT"
