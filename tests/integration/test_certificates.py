"""A source is known by its certificate, end to end: the right one, another good one, none."""

import asyncio
import ssl
from pathlib import Path

from structlog.testing import capture_logs

from adapters.hl7v2 import er7
from adapters.hl7v2.frame import frame
from adapters.hl7v2.tls import TlsSettings, client_context
from tests.integration.test_acknowledgement import SOURCE, config_with, message
from tests.support.certificates import Authority, Certificate
from tests.support.ports import free_port
from tests.support.running_hub import RunningHub, running_hub


def context_of(authority: Authority, own: Certificate) -> ssl.SSLContext:
    return client_context(
        TlsSettings(
            certificate=own.certificate,
            private_key=own.private_key,
            authorities=authority.certificate,
        )
    )


async def answer_to(hub: RunningHub, payload: bytes, context: ssl.SSLContext | None) -> er7.Message:
    port = hub.hub.receivers[1 if context else 0].port
    name = "hub.test" if context else None
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=context, server_hostname=name
    )
    writer.write(frame(payload))
    answer = (await reader.readuntil(b"\x1c\r"))[1:-2]
    writer.close()
    return er7.parse(answer)


async def test_a_certificate_says_which_source_a_connection_is(tmp_path: Path):
    authority = Authority(tmp_path)
    own, lab, hubs = (authority.issue(name) for name in ("adt.test", "lab.test", "hub.test"))
    config = config_with(tmp_path, "")
    file = Path(config) / "sources" / "listening.toml"
    file.write_text(SOURCE.replace("[match]", '[match]\ncertificate = "CN=adt.test"'))
    settings = {
        "HIE_CONFIG": config,
        "HIE_PROFILE": "production",
        "HIE_CERTIFICATE": str(hubs.certificate),
        "HIE_PRIVATE_KEY": str(hubs.private_key),
        "HIE_CLIENT_AUTHORITIES": str(authority.certificate),
        "HIE_MLLPS_PORT": str(free_port()),
    }
    sent = message(1, "", "")
    with capture_logs() as logged:
        async with running_hub(tmp_path / "hub", **settings) as hub:
            plain = await answer_to(hub, sent, None)
            wrong = await answer_to(hub, sent, context_of(authority, lab))
            right = await answer_to(hub, sent, context_of(authority, own))
            metrics = hub.hub.metrics.render()
    assert [(a.get("MSA-1"), a.get("ERR-3")) for a in (plain, wrong, right)] == [
        ("AR", "207"),
        ("AR", "207"),
        ("AA", ""),
    ]
    told = [line for line in logged if line["event"] == "message.refused"]
    assert [line["certificate"] for line in told] == [None, "lab.test"]
    assert all(line["rule"] == ["sender-unknown MSH-3"] for line in told)
    assert 'hie_tls_certificate_end_seconds{listener="mllps",certificate="adt.test"}' in metrics
    assert 'hie_acknowledgements_total{source="listening",code="AA"} 1' in metrics
    assert 'hie_acknowledgements_total{source="unknown",code="AR"} 2' in metrics
