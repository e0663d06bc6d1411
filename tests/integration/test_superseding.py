"""Consents in the place of others, recorded by those who may not widen access."""

import base64
from pathlib import Path

import aiohttp

from tests.support.running_hub import running_hub
from tests.support.staff_api import Console
from tests.support.wishes import OWN, consent, organization, own_token, person, seen

FORM = {
    "form": "exclude-organization",
    "signature": {"by": "Nora Doe", "on": "2026-01-30", "witness": "Sam Clerk"},
    "scan": {
        "media_type": "application/pdf",
        "content": base64.b64encode(b"%PDF-1.7 " + b"x" * 100).decode(),
    },
}


async def test_a_clerk_takes_no_denial_back_by_a_smaller_one_in_its_place(tmp_path: Path) -> None:
    async with running_hub(tmp_path / "home") as hub, aiohttp.ClientSession() as session:
        me = await person(hub, "2901")
        token = await own_token(hub, me)
        desk, office = [
            Console(
                hub,
                session,
                await hub.token(
                    scope=f"staff/privacy.{role}", user=f"pat.{role}", purpose="HOPERAT"
                ),
            )
            for role in ("clerk", "officer")
        ]
        _, denial = await hub.ask(token, "Consent", consent(me, "deny"))
        assert (await hub.ask(token, "Consent", consent(me)))[0] == 201
        assert await seen(hub, me) == 0
        told = {**FORM, "fields": [{"name": "recipients", "values": [organization(OWN)]}]}
        told["supersedes"] = [denial["id"]]
        refused = await desk.do(f"/privacy/persons/{me}/consents", told)
        assert refused.status == 403, refused.body
        assert await seen(hub, me) == 0
        _, still = await hub.ask(token, f"Consent/{denial['id']}")
        assert still["status"] == "active"
        kept = await office.do(f"/privacy/persons/{me}/consents", told)
        assert kept.status == 200, kept.body
        assert await seen(hub, me) == 1
