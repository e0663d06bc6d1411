"""What a source's file says about the wire, and what it is told when that is wrong."""

from pathlib import Path

import pytest

from adapters.source_files import load_sources
from adapters.sources import Source
from adapters.wire_policy import FLAGS, Listener, WirePolicy
from hie.kernel.envelope import Severity
from hie.kernel.errors import HieError
from tests.unit.adapters.test_sources import LEAST


def source_with(tmp_path: Path, more: str) -> Source:
    (tmp_path / "lab.toml").write_text(LEAST + more, encoding="utf-8")
    (source,) = load_sources(tmp_path, allow_adhoc=False).all()
    return source


def test_a_file_that_says_nothing_leaves_every_default(tmp_path: Path):
    source = source_with(tmp_path, "")
    assert source.wire == WirePolicy(burst=1)
    assert source.severities == {}


def test_a_file_says_how_its_sender_is_answered_numbered_and_paced(tmp_path: Path):
    authority = tmp_path / "ca.pem"
    authority.write_text("pem")
    wire = source_with(
        tmp_path,
        f"""
[acknowledgement]
mode = "original"
application_to = "[::1]:6661"
tls = true
authorities = "{authority}"
server_name = "adt.ghh.example.org"
give_up_hours = 0.5
[sequence]
protocol = true
[limits]
messages_per_second = 2.5
burst = 40
[tolerance]
processing_modes = ["T"]
""",
    ).wire
    assert wire == WirePolicy(
        is_original=True,
        application_to=Listener(
            host="::1",
            port=6661,
            is_tls=True,
            authorities=authority,
            server_name="adt.ghh.example.org",
        ),
        give_up_seconds=1800,
        is_sequenced=True,
        per_second=2.5,
        burst=40,
        processing_modes=frozenset({"T"}),
    )


def test_a_pace_without_a_burst_takes_one_seconds_messages_at_once(tmp_path: Path):
    wire = source_with(tmp_path, "[limits]\nmessages_per_second = 30\n").wire
    assert (wire.per_second, wire.burst) == (30.0, 30)


def test_tolerances_are_weights_and_a_weight_given_by_name_counts_more(tmp_path: Path):
    flags = "\n".join(f"{flag} = {str(n % 2 == 0).lower()}" for n, flag in enumerate(FLAGS))
    weights = '[severity]\nframing-fs = "warning"\n'
    found = source_with(tmp_path, f"[tolerance]\n{flags}\n{weights}").severities
    assert found == {
        "framing-noise": Severity.NOTE,
        "framing-no-cr": Severity.ERROR,
        "framing-line-feed": Severity.NOTE,
        "framing-restart": Severity.ERROR,
        "framing-fs": Severity.WARNING,
        "framing-vt": Severity.ERROR,
    }


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ('[acknowledgement]\nmode = "enhanced"', "`mode` must be `as sent` or `original`"),
        ('[acknowledgement]\napplication_to = "host"', "`application_to` must be `host:port`"),
        ('[acknowledgement]\napplication_to = "h:70000"', "with a port from 1 to 65535"),
        ("[acknowledgement]\ntls = true", "`host:port`, where `tls` and its kin are given"),
        (
            '[acknowledgement]\napplication_to = "h:1"\nauthorities = "gone.pem"',
            "`authorities` must be a PEM file that is there",
        ),
        ("[acknowledgement]\ngive_up_hours = 0", "`give_up_hours` must be a number above 0"),
        ('[acknowledgement]\ntls = "yes"', "`tls` must be true or false"),
        ("[acknowledgement]\nlater = true", "`later` is not a known key"),
        ("[sequence]\nprotocol = 1", "`protocol` must be true or false"),
        ("[limits]\nmessages_per_second = -1", "`messages_per_second` must be a number above 0"),
        ("[limits]\nburst = true", "`burst` must be a number above 0"),
        ("[tolerance]\nvt_in_message = 0", "`vt_in_message` must be true or false"),
        ("[tolerance]\nprocessing_modes = 3", "`processing_modes` must be a list of texts"),
        ("[tolerance]\nnoise = true", "`noise` is not a known key"),
    ],
)
def test_a_wrong_table_is_told_key_and_kind(tmp_path: Path, more: str, told: str):
    with pytest.raises(HieError) as caught:
        source_with(tmp_path, more)
    assert told in caught.value.text
    assert caught.value.text.startswith("lab.toml [")
