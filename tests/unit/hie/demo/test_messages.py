"""What the sources send: HL7 v2 that keeps to the standard, FHIR that validates."""

import json
from collections import Counter

import pytest
from fhir.resources.R4B import get_fhir_model_class

from adapters.hl7v2 import er7
from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.rules import load_rules
from hie.demo.dialect import Dialect
from hie.demo.parcels import Expected, Wire, parcels
from hie.demo.scene import leave_samples, set_scene
from hie.demo.story import tell
from hie.kernel.envelope import Severity

MAPPED = {
    *("ADT^A01", "ADT^A03", "ADT^A04", "ADT^A08", "ADT^A11", "ADT^A28", "ADT^A31", "ADT^A40"),
    *("ORU^R01", "VXU^V04", "RDE^O11", "RDS^O13", "MDM^T02"),
}


@pytest.fixture(scope="module")
def sent(scene):
    return [parcel for feed in scene.feeds.values() for parcel in feed]


@pytest.fixture(scope="module")
def messages(sent):
    return [(p, er7.parse(p.payload)) for p in sent if p.wire is Wire.MLLP]


def test_the_same_files_give_the_same_bytes(scene, config):
    assert set_scene(config).feeds == scene.feeds
    assert set_scene(config).consents == scene.consents


def test_there_are_between_1500_and_2500_messages(scene):
    assert 1500 <= scene.messages <= 2500


def test_every_mapped_type_is_sent(sent):
    assert {p.kind for p in sent} >= MAPPED


def test_every_message_parses_and_gives_its_bytes_back(messages):
    for parcel, message in messages:
        assert message.encode() == parcel.payload


def test_control_ids_repeat_only_in_what_is_sent_twice(messages):
    ids = Counter((p.source, m.control_id) for p, m in messages if p.note != "sent twice")
    assert max(ids.values()) == 1
    twice = [p for p, _ in messages if p.note == "sent twice"]
    assert len(twice) == 5
    for parcel in twice:
        same = [p for p, _ in messages if p.control_id == parcel.control_id]
        assert len(same) == 2
        assert same[0].payload == same[1].payload


def test_every_message_says_who_sends_it(scene, messages):
    for parcel, message in messages:
        sender = scene.lists.senders[parcel.source]
        assert (message.application, message.facility) == (sender.application, sender.facility)
        assert message.version == sender.version


def test_senders_agree_with_the_registered_sources(scene):
    assert set(scene.sources) == set(scene.lists.senders)
    for name, sender in scene.lists.senders.items():
        source = scene.sources[name]
        assert (source.application, source.facility) == (sender.application, sender.facility)
        assert source.own_authority == sender.system
        namespace, universal_id, kind = sender.authority
        assert source.system_of(namespace, universal_id, kind) == sender.system
        assert source.certificate == (f"CN={name}" if sender.wire == "tls" else "")


def test_ordinary_messages_have_no_error_and_the_wrong_ones_do(scene, messages, config):
    conformer = Conformer(load_rules(config / "hl7v2" / "conformance.toml"))
    for parcel, message in messages:
        found = conformer.conform(message, scene.sources[parcel.source]).findings
        has_error = any(f.severity is Severity.ERROR for f in found) or not message.control_id
        assert has_error == (parcel.expected is Expected.REFUSED), parcel.control_id


def test_a_pid_carries_what_the_source_knows(scene, messages):
    by_value = {
        (known.source, known.value): known
        for person in scene.world.people
        for known in person.registrations
    }
    checked = 0
    for parcel, message in messages:
        known = by_value.get((parcel.source, message.get("PID-3.1")))
        if known is None:
            continue
        written = {r.birth_date for r in (known.recorded, known.corrected) if r}
        assert message.get("PID-7") in {f"{day:%Y%m%d}" for day in written}
        checked += 1
    assert checked > 1500


def test_dialects_differ_as_real_ones_do(messages):
    versions = {p.source: m.version for p, m in messages}
    marks = {p.source: m.delimiters.component for p, m in messages}
    structures = {p.source: m.get("MSH-9.3") for p, m in messages}
    charsets = {m.get("MSH-18") for _, m in messages}
    assert set(versions.values()) == {"2.3", "2.5", "2.5.1", "2.8"}
    assert marks["harbor-pharmacy"] == "~"
    assert not structures["saint-aurelia"]
    assert charsets == {"", "8859/1", "UNICODE UTF-8"}
    assert any(s.name.startswith("Z") for _, m in messages for s in m.segments)


def test_letters_outside_ascii_survive_in_each_character_set(scene, messages):
    names = {known.truth.family for known in scene.world.people}
    accented = {name for name in names if not name.isascii()}
    found = {p.source for p, m in messages if m.get("PID-5.1") in accented}
    assert {"saint-aurelia", "bayside-general", "western-hills"} <= found


def test_bundles_validate_as_fhir(sent):
    for parcel in (p for p in sent if p.wire is Wire.FHIR and p.expected is Expected.ACCEPTED):
        bundle = json.loads(parcel.payload)
        get_fhir_model_class("Bundle").model_validate_json(parcel.payload)
        for entry in bundle["entry"]:
            resource = entry["resource"]
            get_fhir_model_class(resource["resourceType"]).model_validate(resource)


def test_references_of_a_bundle_lead_into_it(sent):
    for parcel in (p for p in sent if p.wire is Wire.FHIR and not p.note):
        bundle = json.loads(parcel.payload)
        urls = {entry["fullUrl"] for entry in bundle["entry"]}
        for entry in bundle["entry"]:
            subject = entry["resource"].get("subject")
            assert subject is None or subject["reference"] in urls


def test_consents_validate_as_fhir(scene):
    for feed in scene.consents.values():
        for parcel in feed:
            get_fhir_model_class("Consent").model_validate_json(parcel.payload)


def test_most_people_share_some_deny_and_some_never_said(scene):
    people = len(scene.world.people)
    denying = [w for w in scene.wishes if w.denied]
    assert 0.6 < (len(scene.wishes) - len(denying)) / people < 0.8
    assert 0.05 < len(denying) / people < 0.2
    assert len(scene.wishes) < people
    assert any(len(w.payloads) == 2 for w in denying)
    assert any(len(w.payloads) == 1 for w in denying)


def test_values_with_delimiters_in_them_are_escaped(scene):
    dialect = Dialect(scene.lists.senders["harbor-pharmacy"])
    written = dialect.message([dialect.segment("NTE", {3: "a^b~c|d&e\\f"})])
    header = dialect.message([dialect.header({3: "X", 10: "1"})])
    message = er7.parse(header + written)
    assert message.get("NTE-3") == "A^B~C|D&E\\F"


def test_samples_are_left_of_sources_that_send_in_the_plain(scene, tmp_path):
    leave_samples(tmp_path, scene)
    files = {path.stem for path in tmp_path.glob("*.hl7")}
    assert {"ADT_A28", "ORU_R01", "RDS_O13", "VXU_V04"} <= files
    for path in tmp_path.glob("*.hl7"):
        message = er7.parse(path.read_bytes())
        assert message.application in {"MEDIHOST", "RXHARBOR"}


def test_the_story_can_be_packed_again(scene):
    assert parcels(scene.lists, tell(scene.world, scene.lists)) == dict(scene.feeds)
