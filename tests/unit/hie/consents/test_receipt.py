"""Receipts: what they say, and what makes them genuine.

Spec: docs/adr/0043; RFC 8032.
"""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hie.consents.plain import lines, load_plain, organizations_of, purposes_of
from hie.consents.receipt import Content, check, hash_of, html, key_id, signed
from tests.support.consents import actor, consent, provision
from tests.support.tree import ROOT

WORDS = load_plain(ROOT / "config" / "consent" / "receipts" / "plain.toml")
OURS, THEIRS = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
KEYS = {key_id(OURS.public_key()): OURS.public_key()}
PDF = b"%PDF-1.7 what was agreed\n%%EOF\n"
NAMES = {"Organization/clinic": "Elm Clinic", "Organization/lab": "Bay Lab"}


def test_a_receipt_is_genuine_only_whole_and_from_this_hub():
    file = signed(PDF, OURS)
    assert file.startswith(PDF), "any reader shows it"
    assert check(file, KEYS).is_genuine


@pytest.mark.parametrize(
    ("file", "why"),
    [
        pytest.param(signed(PDF, THEIRS), "another key", id="another hub's key"),
        pytest.param(PDF, "no signature", id="not signed"),
        pytest.param(b"", "no signature", id="empty"),
        pytest.param(
            signed(PDF, OURS).replace(b"agreed", b"denied"), "changed", id="a word changed"
        ),
        pytest.param(signed(PDF, OURS) + PDF, "no signature", id="pages added behind"),
        pytest.param(b"%PDF-1.7 more\n" + signed(PDF, OURS), "changed", id="pages added before"),
        pytest.param(
            PDF.replace(b"agreed", b"denied") + signed(PDF, OURS)[len(PDF) :],
            "changed",
            id="signature of another receipt",
        ),
        pytest.param(signed(signed(PDF, THEIRS), OURS)[:-1], "no signature", id="trailer cut off"),
    ],
)
def test_what_is_forged_is_told_with_its_reason(file: bytes, why: str):
    checked = check(file, KEYS)
    assert not checked.is_genuine
    assert why in checked.why


def test_the_page_names_its_language_and_title_and_hides_no_markup():
    content = Content(
        consent_id="c1",
        version=2,
        act="You recorded this.",
        said=("You agree <b>so</b>.",),
        parties=(("About", "Nora & Co"), ("Born", "")),
        papers=(),
        consent_hash=hash_of({"b": 1, "a": "é"}),
        key_id="k",
    )
    page = html(content, WORDS)
    assert '<html lang="en">' in page
    assert "<title>Receipt for your consent</title>" in page
    assert "&lt;b&gt;so&lt;/b&gt;" in page
    assert "Nora &amp; Co" in page
    assert "Born" not in page, "what nobody said has no row"
    assert page == html(content, WORDS)


def test_the_hash_of_a_consent_does_not_depend_on_the_order_of_its_members():
    assert hash_of({"a": 1, "b": [1, 2]}) == hash_of({"b": [1, 2], "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 2})


def test_a_consent_is_said_provision_by_provision():
    told = consent(
        provision(
            "permit",
            provision("deny", actors=["lab"], labels=["HIV"]),
            purposes=["TREAT"],
            period={"end": "2027-01-31"},
        )
    )
    said = lines(told, NAMES, WORDS, is_over=False)
    assert said == (
        "You agree that everyone in the exchange may see all of your health information "
        "to treat you.",
        "But you do not let Bay Lab see your information about HIV tests and treatment "
        "to treat you.",
        WORDS.say("kept"),
        "This holds from now to 2027-01-31.",
    )
    assert organizations_of(told) == ("Organization/lab",)
    assert purposes_of(told) == ("TREAT",)


def test_a_denial_of_what_somebody_sent_names_them_and_one_that_ended_says_so():
    held = provision("deny", actor=[actor("Organization/clinic", "CST")])
    said = lines(consent(held), NAMES, WORDS, is_over=True)
    assert said[0] == WORDS.say("over")
    assert said[1] == "You do not let anyone in the exchange see what Elm Clinic sent."


def test_a_policy_that_opens_what_is_ordinary_is_said_as_that():
    uri = "https://profiles.ihe.net/ITI/PCF/Policy-basic-normal"
    told = consent(provision("permit"), policy=[{"uri": uri}])
    assert "not specially protected" in lines(told, NAMES, WORDS, is_over=False)[0]


def test_a_denial_of_everything_cannot_be_heard_as_a_denial_of_a_part():
    (said,) = lines(consent(provision("deny")), NAMES, WORDS, is_over=False)
    assert said == "You do not let anyone in the exchange see any of your health information."
