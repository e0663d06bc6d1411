"""The registered sources: how a message finds its source, what a wrong file is told."""

from pathlib import Path

import pytest

from adapters.source_files import load_sources
from adapters.sources import Source, SourceRegistry, adhoc_source
from hie.kernel.envelope import Severity
from hie.kernel.errors import Category, HieError

FULL = """
name = "Green Hills Hospital, admissions"
time_zone = "America/New_York"
charset = "8859/1"
own_authority = "urn:oid:1.2.840.99"

[match]
application = "ADT1"
facility = "GHH"
certificate = "CN=adt.ghh.example.org"

[organization]
system = "http://hl7.org/fhir/sid/us-npi"
value = "1234567893"
name = "Green Hills Hospital"
parent = "http://hl7.org/fhir/sid/us-npi|1987654321"

[authorities]
GHH = "urn:oid:1.2.840.99"
"1.2.3.4" = "https://labs.example.org/ids"

[severity]
required-field = "error"

[tolerance]
processing_ids = ["P", "T"]

[overrides]
anything = { "the mapper" = "reads" }
"""

LEAST = """
name = "A lab"
time_zone = "UTC"
[match]
facility = "LAB"
[organization]
system = "https://hie.example/organization"
value = "lab"
name = "A lab"
"""


def folder_of(tmp_path: Path, **files: str) -> Path:
    for name, content in files.items():
        (tmp_path / f"{name.replace('_', '-')}.toml").write_text(content, encoding="utf-8")
    return tmp_path


def registry_of(tmp_path: Path, *, allow_adhoc: bool = False, **files: str) -> SourceRegistry:
    return load_sources(folder_of(tmp_path, **files), allow_adhoc=allow_adhoc)


def faults_of(tmp_path: Path, **files: str) -> str:
    with pytest.raises(HieError) as caught:
        load_sources(folder_of(tmp_path, **files), allow_adhoc=False)
    assert caught.value.category is Category.INVALID
    assert len(caught.value.issues) >= 1
    return caught.value.text


def test_a_full_file_becomes_a_source(tmp_path: Path):
    source = registry_of(tmp_path, ghh_adt=FULL).by_id("ghh-adt")
    assert source is not None
    assert source.name == "Green Hills Hospital, admissions"
    assert source.organization.value == "1234567893"
    assert source.organization.parent == "http://hl7.org/fhir/sid/us-npi|1987654321"
    assert (source.application, source.facility) == ("ADT1", "GHH")
    assert source.certificate == "CN=adt.ghh.example.org"
    assert source.zone is not None
    assert source.zone.key == "America/New_York"
    assert source.charset == "8859/1"
    assert source.severities == {"required-field": Severity.ERROR}
    assert source.processing_ids == {"P", "T"}
    assert source.overrides == {"anything": {"the mapper": "reads"}}
    assert not source.is_adhoc


def test_a_short_file_has_defaults(tmp_path: Path):
    (source,) = registry_of(tmp_path, lab=LEAST).all()
    assert source.own_authority == "urn:hie:authority:lab"
    assert (source.application, source.certificate, source.charset) == ("", "", "")
    assert source.severities == {}
    assert source.processing_ids == frozenset()


def test_sources_say_what_they_number_their_patients_by(tmp_path: Path):
    registry = registry_of(tmp_path, ghh_adt=FULL, lab=LEAST)
    assert registry.record_systems() == {"urn:oid:1.2.840.99", "urn:hie:authority:lab"}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('name = "A lab"\ntime', "time", "lab.toml: `name` must be text"),
        ('"UTC"', '"Mars/Olympus"', "lab.toml: `time_zone` must be an IANA time zone"),
        ('"UTC"', '"../../etc/passwd"', "`time_zone` must be an IANA time zone"),
        ('time_zone = "UTC"', "time_zone = 5", "`time_zone`"),
        ('facility = "LAB"', "", "lab.toml: `match` must be application, facility or cert"),
        ('facility = "LAB"', "facility = 7", "lab.toml [match]: `facility` must be text"),
        ('facility = "LAB"', 'certificate = "abc"', "`certificate` must be a SHA-256 finger"),
        ("[organization]", "[organisation]", "lab.toml: `organization` must be a table"),
        ('system = "https://hie.example/organization"', 'system = "x"', "`system` must be a URI"),
        ('value = "lab"', 'parent = "x"', "`parent` must be"),
        ('name = "A lab"\ntime', 'nmae = "A lab"\ntime', "lab.toml: `nmae` is not a known key"),
        ("[match]", "[match]\napp = 1", "lab.toml [match]: `app` is not a known key"),
        ("[match]", "[authorities]\nX = 'y'\n[match]", "lab.toml [authorities]: `X` must be a URI"),
        ("[match]", "[severity]\nx = 'bad'\n[match]", "`x` must be one of error|warning|note"),
        ("[match]", "[tolerance]\nprocessing_ids = 'P'\n[match]", "must be a list of texts"),
        ("[match]", "[match", "lab.toml: must be TOML"),
    ],
)
def test_a_wrong_file_is_told_key_and_kind(tmp_path: Path, before: str, after: str, told: str):
    assert before in LEAST
    assert told in faults_of(tmp_path, lab=LEAST.replace(before, after, 1))


def test_all_faults_are_told_at_once(tmp_path: Path):
    told = faults_of(tmp_path, lab=LEAST.replace('"UTC"', '"x"'), other=LEAST.replace('"LAB"', "4"))
    assert "lab.toml: `time_zone`" in told
    assert "other.toml [match]: `facility`" in told


def test_a_file_name_is_an_id(tmp_path: Path):
    (tmp_path / "Lab One.toml").write_text(LEAST, encoding="utf-8")
    with pytest.raises(HieError, match="file name must be"):
        load_sources(tmp_path, allow_adhoc=True)


def test_two_sources_may_not_be_recognised_by_the_same(tmp_path: Path):
    assert "`match` is the same as in one.toml" in faults_of(tmp_path, one=LEAST, two=LEAST)


MATCH = LEAST.replace('facility = "LAB"', "{match}")
FINGERPRINT = "ab" * 32


def matching(**keys: str) -> str:
    lines = "\n".join(f'{key} = "{value}"' for key, value in keys.items())
    return MATCH.format(match=lines)


@pytest.fixture
def registry(tmp_path: Path) -> SourceRegistry:
    return registry_of(
        tmp_path,
        exact=matching(application="ADT1", facility="GHH"),
        anyapp=matching(facility="GHH"),
        pinned=matching(application="LAB1", facility="LAB", certificate="CN=lab"),
        printed=matching(application="RX", certificate=":".join(["AB"] * 32)),
        bycert=matching(certificate="CN=only"),
    )


@pytest.mark.parametrize(
    ("application", "facility", "certificate", "subject", "expected"),
    [
        ("ADT1", "GHH", None, None, "exact"),
        ("ADT2", "GHH", None, None, "anyapp"),
        ("LAB1", "LAB", FINGERPRINT, "lab", "pinned"),
        ("LAB1", "LAB", FINGERPRINT, "other", None),
        ("LAB1", "LAB", None, None, None),  # its name without its certificate
        ("RX", "ANY", FINGERPRINT, "whoever", "printed"),
        ("RX", "ANY", "cd" * 32, "whoever", None),
        ("NEW", "NEW", "cd" * 32, "only", "bycert"),
        ("ADT1", "GHH", "cd" * 32, "only", "exact"),  # names say more than a bare certificate
        ("NEW", "NEW", None, None, None),
        ("", "", None, None, None),
    ],
)
def test_a_message_finds_the_source_that_says_most_about_it(
    registry: SourceRegistry,
    application: str,
    facility: str,
    certificate: str | None,
    subject: str | None,
    expected: str | None,
):
    found = registry.for_message(application, facility, certificate, subject)
    assert (found.id if found else None) == expected


def test_an_unknown_sender_is_an_adhoc_source_where_that_is_allowed(tmp_path: Path):
    registry = registry_of(
        tmp_path, allow_adhoc=True, lab=matching(facility="LAB", certificate="CN=lab")
    )
    found = registry.for_message("APP", "FAC")
    assert found is not None
    assert found.id == "adhoc:APP|FAC"
    assert found.is_adhoc
    assert found.organization.value == "FAC"
    assert registry.by_id("adhoc:APP|FAC") == found
    assert registry.for_message("X", "LAB") is None  # nobody borrows a registered name
    assert [source.id for source in registry.all()] == ["lab"]


def test_no_adhoc_source_where_it_is_not_allowed(tmp_path: Path):
    registry = registry_of(tmp_path, lab=LEAST)
    assert registry.for_message("APP", "FAC") is None
    assert registry.by_id("adhoc:APP|FAC") is None


def test_an_adhoc_id_has_no_control_characters_and_no_more_than_two_parts():
    source = adhoc_source("A\x1c|B\r" + "x" * 500, "F\0|")
    assert source.id == "adhoc:AB" + "x" * 62 + "|F"
    assert adhoc_source("", "").name == "unnamed sender"


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return registry_of(tmp_path, ghh_adt=FULL).all()[0]


@pytest.mark.parametrize(
    ("namespace", "universal_id", "kind", "expected"),
    [
        ("GHH", "", "", "urn:oid:1.2.840.99"),
        ("GHH", "9.9.9", "ISO", "urn:oid:1.2.840.99"),  # the file has the last word
        ("", "1.2.3.4", "ISO", "https://labs.example.org/ids"),
        ("OTHER", "2.16.840.1", "ISO", "urn:oid:2.16.840.1"),
        ("OTHER", "2.16.840.1", "", "urn:oid:2.16.840.1"),
        ("OTHER", "not-an-oid", "ISO", "urn:hie:authority:ghh-adt:OTHER"),
        ("OTHER", "https://x.example/ids", "URI", "https://x.example/ids"),
        ("OTHER", "x.example", "DNS", "urn:hie:authority:ghh-adt:OTHER"),
        ("A B|C", "", "", "urn:hie:authority:ghh-adt:A%20B%7CC"),
        ("", "x.example", "DNS", "urn:hie:authority:ghh-adt:x.example"),
        ("", "", "", "urn:oid:1.2.840.99"),
    ],
)
def test_an_assigning_authority_has_one_system(
    source: Source, namespace: str, universal_id: str, kind: str, expected: str
):
    assert source.system_of(namespace, universal_id, kind) == expected


def test_the_committed_sources_can_be_read():
    folder = Path(__file__).parents[3] / "config" / "sources"
    assert load_sources(folder, allow_adhoc=False).all()
