"""Commands about who may and who did: token, audit."""

import argparse
import asyncio
import sys

from hie.commands.parser import Group, command, settings_of
from hie.kernel.errors import Category, HieError
from hie.services import Services
from hie.settings import Settings


def register(group: Group) -> None:
    """Add the commands about access."""
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
    arguments.add_argument("--ttl", type=int, default=3600, metavar="SECONDS")
    audit = group.add_parser("audit", help="Check or export the audit trail.")
    actions = audit.add_subparsers(title="actions", required=True, metavar="ACTION")
    command(
        actions,
        "verify",
        "Follow the audit chain from its first row; name the first fault.",
        lambda _: asyncio.run(audit_verify(settings_of())),
    )
    command(
        actions,
        "export",
        "Print every AuditEvent, one JSON object a line.",
        lambda _: asyncio.run(audit_export(settings_of())),
    )


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
                ttl_seconds=arguments.ttl,
            )
        )
    return 0


def _usual_purpose(scope: str) -> str:
    return "HOPERAT" if scope.startswith("staff/") else "TREAT"


async def audit_verify(settings: Settings) -> int:
    """Follow the audit chain; 1 when it is not whole."""
    async with Services(settings) as hub:
        found = await hub.verifier.verify()
    print(f"{found.size} rows whole, {found.unchained} unchained, {found.heads} heads compared")
    if found.tamper is None:
        print("the audit trail is whole")
        return 0
    print(f"FAULT at row {found.tamper.seq}: {found.tamper.kind.value}")
    return 1


async def audit_export(settings: Settings) -> int:
    """Print every AuditEvent."""
    async with Services(settings) as hub:
        async for line in hub.audit.export():
            sys.stdout.write(line.decode())
    return 0
