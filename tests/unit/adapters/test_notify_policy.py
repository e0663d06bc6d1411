"""What a source's file says about queries and notices, and what it is told when that is wrong."""

from pathlib import Path

import pytest

from adapters.notify_policy import AdtNotices, NotifyPolicy, WebhookNotices
from adapters.source_files import load_sources
from adapters.wire_policy import Listener
from hie.kernel.errors import HieError
from hie.notify.ways import WebhookWay
from tests.unit.adapters.test_sources import LEAST
from tests.unit.adapters.test_wire_policy import source_with


def test_a_file_that_says_nothing_is_answered_and_told_nothing(tmp_path: Path):
    source = source_with(tmp_path, "")
    assert (source.queries, source.query_purpose) == (frozenset(), "TREAT")
    assert source.notify == NotifyPolicy()
    assert list(source.notify.channels()) == []


def test_a_file_says_what_its_source_is_told_and_how(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 32)
    secret.chmod(0o600)
    notify = source_with(
        tmp_path,
        f"""
[notify]
give_up_hours = 2
[notify.adt]
to = "10.0.0.7:6662"
tls = true
domains = ["urn:oid:1.2.3"]
merges = true
[notify.webhook]
url = "https://ghh.example.org/told"
secret_file = "{secret}"
""",
    ).notify
    assert notify == NotifyPolicy(
        adt=AdtNotices(
            listener=Listener(host="10.0.0.7", port=6662, is_tls=True),
            domains=frozenset({"urn:oid:1.2.3"}),
            tells_merges=True,
        ),
        webhook=WebhookNotices(url="https://ghh.example.org/told", secret_file=secret),
        give_up_seconds=7200,
    )
    assert list(notify.channels()) == ["identifiers", "merges", "webhook"]


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ("[notify.adt]\nmerges = true", "lab.toml [notify] [adt]: `to` must be `host:port`"),
        ('[notify.adt]\nto = "h:1"\nidentifiers = false', "`identifiers` must be true, unless"),
        ('[notify.adt]\nto = "h:1"\ncolour = "red"', "`colour` is not a known key"),
        ('[notify.webhook]\nurl = "http://far.example/x"', "`url` must be an https address"),
        ('[notify.webhook]\nurl = "https://[::1/x"', "`url` must be an https address"),
        ('[notify.webhook]\nurl = "https://x/"\nsecret_file = "/no"', "`secret_file` must be a"),
    ],
)
def test_a_fault_names_file_table_key_and_what_was_expected(tmp_path: Path, more, fault):
    (tmp_path / "lab.toml").write_text(LEAST + more, encoding="utf-8")
    with pytest.raises(HieError) as caught:
        load_sources(tmp_path, allow_adhoc=False)
    assert fault in caught.value.text


async def test_nothing_is_signed_by_half_a_secret(tmp_path: Path):
    secret = tmp_path / "secret"
    way = WebhookWay(WebhookNotices(url="https://127.0.0.1:1/x", secret_file=secret))
    with pytest.raises(HieError, match="cannot be read"):
        await way.post("1", 0, b"{}")
    secret.write_bytes(b"s" * 31)
    with pytest.raises(HieError, match="32 bytes or more"):
        await way.post("1", 0, b"{}")


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"s" * 32)
    secret.chmod(0o644)
    more = f'[notify.webhook]\nurl = "https://x/"\nsecret_file = "{secret}"'
    (tmp_path / "lab.toml").write_text(LEAST + more, encoding="utf-8")
    with pytest.raises(HieError, match="owner alone"):
        load_sources(tmp_path, allow_adhoc=False)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('queries = ["pix", "all"]', "`queries` must be a list of pdq, pix"),
        ('query_purpose = "BTG"', "`query_purpose` must be TREAT, HPAYMT, HOPERAT or PUBHLTH"),
    ],
)
def test_no_file_asks_for_more_than_there_is(tmp_path: Path, line, fault):
    (tmp_path / "lab.toml").write_text(f"{line}\n{LEAST}", encoding="utf-8")
    with pytest.raises(HieError) as caught:
        load_sources(tmp_path, allow_adhoc=False)
    assert fault in caught.value.text
