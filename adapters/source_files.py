"""Reads the files of the registered sources.

One file per source, `config/sources/<id>.toml`; the file's name is the source's id:

    name = "Green Hills Hospital, admissions"   # shown to staff
    time_zone = "America/New_York"              # of times sent without an offset
    charset = "8859/1"                          # optional; counts more than MSH-18
    own_authority = "urn:oid:2.16.840.1.113883.3.72.5"  # system of the numbers it issues itself

    [match]                                     # at least one; all that are given must hold
    application = "ADT1"                        # MSH-3.1
    facility = "GHH"                            # MSH-4.1
    certificate = "CN=adt.ghh.example.org"      # or the SHA-256 fingerprint in hex

    [organization]                              # whom the source speaks for
    system = "http://hl7.org/fhir/sid/us-npi"
    value = "1234567893"
    name = "Green Hills Hospital"
    parent = "http://hl7.org/fhir/sid/us-npi|1987654321"   # optional, `system|value`
    address = "8 Hill Road, Amherst, MA 01002"  # optional; accountings of disclosures name it

    [authorities]                               # CX-4 namespace or OID -> identifier system
    GHH = "urn:oid:2.16.840.1.113883.3.72.5"

    [severity]                                  # rule of config/hl7v2/conformance.toml
    required-field = "error"                    # error, warning or note

    [tolerance] [acknowledgement] [sequence] [limits]   # see adapters/wire_policy.py
    [notify]                                    # see adapters/notify_policy.py
    [validation]                                # see adapters/validation_policy.py

    queries = ["pix", "pdq"]                    # identity queries answered; absent = none
    query_purpose = "TREAT"                     # what it asks for; absent = treatment

    attested_verification = true                # what it says a patient verified, counts
    break_glass = true                          # its privileged users may in an emergency

    [expected]                                  # silence beyond it is an alarm
    interval = "15m"                            # a number with s, m, h or d
    quiet_hours = ["22:00-06:00"]               # in its time zone; these do not count as silence
    quiet_days = ["saturday", "sunday"]

    [codes]                                     # see adapters/source_codes.py
    marital-status = "shared/marital.csv"       # instead of `<id>/marital-status.csv`

    [drop]
    folder = "/srv/sftp/ghh/in"                 # its files are this source's, see adapters/drop.py

    [overrides]                                 # read by the mapper, over `config/`
    codes.administrative-sex.1 = "male"         # concept map, code, target
    [[overrides.rows."PID[Patient]"]]           # rows put before those of a segment map
    from = 31
    to = "gender"
    as = "code"
    concept = "administrative-sex"
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from adapters.expected import read_expected
from adapters.notify_policy import read_notify_policy
from adapters.source_codes import read_codes
from adapters.sources import QUERIES, OrganizationRef, Source, SourceRegistry
from adapters.table_reader import TableReader
from adapters.validation_policy import read_validation_policy
from adapters.wire_policy import read_tolerances, read_wire_policy
from hie.kernel.envelope import Severity
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.ids import SourceId

_ID: Final = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")
_URI: Final = re.compile(r"^[a-z][a-z0-9+.-]*:\S+$")
_FOLDER: Final = re.compile(r"^/.+")
#: No emergency: that is somebody's own word at the time, with a reason.
_PURPOSE: Final = re.compile(r"^(TREAT|HPAYMT|HOPERAT|PUBHLTH)$")
_FINGERPRINT: Final = re.compile(r"^[0-9a-f]{64}$")


def load_sources(folder: Path, *, allow_adhoc: bool) -> SourceRegistry:
    """The sources of a folder of TOML files.

    Raises:
        HieError: INVALID; one issue per fault, each with file, key and the value expected.
    """
    faults: list[str] = []
    sources: list[Source] = []
    for path in sorted(folder.glob("*.toml")):
        found = _read(path, faults)
        if found:
            sources.append(found)
    faults += _ambiguities(sources)
    if faults:
        issues = [Issue(text=fault, code="invalid") for fault in faults]
        raise HieError(Category.INVALID, "; ".join(faults), issues)
    return SourceRegistry(sources, allow_adhoc=allow_adhoc)


def _ambiguities(sources: list[Source]) -> list[str]:
    seen: dict[tuple[str, str, str], Source] = {}
    folders: dict[str, Source] = {}
    faults = []
    for source in sources:
        if source.drop_folder and folders.setdefault(source.drop_folder, source) is not source:
            other = folders[source.drop_folder]
            faults.append(f"{source.id}.toml [drop]: `folder` is the same as in {other.id}.toml")
        key = (source.application, source.facility, source.certificate)
        if key in seen:
            faults.append(f"{source.id}.toml: `match` is the same as in {seen[key].id}.toml")
        seen[key] = source
    return faults


def _read(path: Path, faults: list[str]) -> Source | None:
    if not _ID.match(path.stem):
        faults.append(f"{path.name}: a source's file name must be lower-case letters, digits, `-`")
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        faults.append(f"{path.name}: must be TOML in UTF-8 ({error})")
        return None
    reader = TableReader(path.name, content)
    source = _source(path.parent, SourceId(path.stem), reader)
    faults += reader.faults
    return None if reader.faults else source


def _source(folder: Path, source_id: SourceId, reader: TableReader) -> Source:
    match, organization = reader.table("match"), reader.table("organization", required=True)
    tolerance = reader.table("tolerance")
    zone = _time_zone(reader)
    source = Source(
        id=source_id,
        name=reader.text("name", required=True),
        organization=OrganizationRef(
            system=organization.text("system", required=True, form=_URI, kind="a URI"),
            value=organization.text("value", required=True),
            name=organization.text("name", required=True),
            parent=organization.text("parent", form=re.compile(r"^[^|]+\|[^|]+$"), kind="`s|v`"),
            address=organization.text("address"),
        ),
        application=match.text("application"),
        facility=match.text("facility"),
        certificate=_certificate(match),
        time_zone=zone,
        charset=reader.text("charset"),
        own_authority=reader.text("own_authority", form=_URI, kind="a URI")
        or f"urn:hie:authority:{source_id}",
        authorities=reader.table("authorities").texts(form=_URI, kind="a URI"),
        severities=_severities(reader.table("severity"), read_tolerances(tolerance)),
        processing_ids=tolerance.names("processing_ids"),
        wire=read_wire_policy(reader, tolerance),
        expected=read_expected(reader.table("expected"), zone),
        attests_verification=bool(reader.switch("attested_verification")),
        breaks_glass=bool(reader.switch("break_glass")),
        queries=_queries(reader),
        notify=read_notify_policy(reader),
        validation=read_validation_policy(reader),
        query_purpose=reader.text(
            "query_purpose", form=_PURPOSE, kind="TREAT, HPAYMT, HOPERAT or PUBHLTH"
        )
        or "TREAT",
        codes=read_codes(folder, source_id, reader.table("codes")),
        drop_folder=reader.table("drop").text("folder", form=_FOLDER, kind="an absolute path"),
        overrides=MappingProxyType(reader.table("overrides").rest()),
    )
    if not (source.application or source.facility or source.certificate):
        reader.fault("match", "application, facility or certificate")
    reader.finish()
    return source


def _queries(reader: TableReader) -> frozenset[str]:
    found = reader.names("queries")
    if not found <= QUERIES:
        reader.fault("queries", f"a list of {', '.join(sorted(QUERIES))}")
    return found & QUERIES


def _certificate(match: TableReader) -> str:
    value = match.text("certificate")
    if not value or value.startswith("CN="):
        return value
    digits = value.replace(":", "").lower()
    if not _FINGERPRINT.match(digits):
        match.fault("certificate", "a SHA-256 fingerprint in hex or `CN=<common name>`")
    return digits


def _time_zone(reader: TableReader) -> str:
    name = reader.text("time_zone", required=True)
    try:
        ZoneInfo(name or "UTC")
    except (ValueError, OSError, KeyError):
        reader.fault("time_zone", "an IANA time zone, such as `America/New_York`")
        return ""
    return name


def _severities(table: TableReader, tolerances: Mapping[str, Severity]) -> Mapping[str, Severity]:
    kinds = "|".join(Severity)
    texts = table.texts(form=re.compile(f"^({kinds})$"), kind=f"one of {kinds}")
    weights = {rule: Severity(text) for rule, text in texts.items() if text}
    return MappingProxyType({**tolerances, **weights})
