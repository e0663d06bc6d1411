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

    [authorities]                               # CX-4 namespace or OID -> identifier system
    GHH = "urn:oid:2.16.840.1.113883.3.72.5"

    [severity]                                  # rule of config/hl7v2/conformance.toml
    required-field = "error"                    # error, warning or note

    [tolerance]
    processing_ids = ["P", "T"]                 # MSH-11 values taken from this source

    [overrides]                                 # read by the mapper, the last word per source
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from adapters.sources import OrganizationRef, Source, SourceRegistry
from hie.kernel.envelope import Severity
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.ids import SourceId

_ID: Final = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")
_URI: Final = re.compile(r"^[a-z][a-z0-9+.-]*:\S+$")
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
    faults = []
    for source in sources:
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
    reader = _Reader(path.name, content)
    source = _source(SourceId(path.stem), reader)
    faults += reader.faults
    return None if reader.faults else source


def _source(source_id: SourceId, reader: "_Reader") -> Source:
    match, organization = reader.table("match"), reader.table("organization", required=True)
    source = Source(
        id=source_id,
        name=reader.text("name", required=True),
        organization=OrganizationRef(
            system=organization.text("system", required=True, form=_URI, kind="a URI"),
            value=organization.text("value", required=True),
            name=organization.text("name", required=True),
            parent=organization.text("parent", form=re.compile(r"^[^|]+\|[^|]+$"), kind="`s|v`"),
        ),
        application=match.text("application"),
        facility=match.text("facility"),
        certificate=_certificate(match),
        time_zone=_time_zone(reader),
        charset=reader.text("charset"),
        own_authority=reader.text("own_authority", form=_URI, kind="a URI")
        or f"urn:hie:authority:{source_id}",
        authorities=reader.table("authorities").texts(form=_URI, kind="a URI"),
        severities=_severities(reader.table("severity")),
        processing_ids=reader.table("tolerance").names("processing_ids"),
        overrides=MappingProxyType(reader.table("overrides").rest()),
    )
    if not (source.application or source.facility or source.certificate):
        reader.fault("match", "application, facility or certificate")
    reader.finish()
    return source


def _certificate(match: "_Reader") -> str:
    value = match.text("certificate")
    if not value or value.startswith("CN="):
        return value
    digits = value.replace(":", "").lower()
    if not _FINGERPRINT.match(digits):
        match.fault("certificate", "a SHA-256 fingerprint in hex or `CN=<common name>`")
    return digits


def _time_zone(reader: "_Reader") -> str:
    name = reader.text("time_zone", required=True)
    try:
        ZoneInfo(name or "UTC")
    except (ValueError, OSError, KeyError):
        reader.fault("time_zone", "an IANA time zone, such as `America/New_York`")
    return name


def _severities(table: "_Reader") -> Mapping[str, Severity]:
    kinds = "|".join(Severity)
    texts = table.texts(form=re.compile(f"^({kinds})$"), kind=f"one of {kinds}")
    return MappingProxyType({rule: Severity(text) for rule, text in texts.items() if text})


class _Reader:
    """One table of a file: takes keys out and remembers what is wrong or left over."""

    def __init__(
        self, place: str, content: Mapping[str, Any], faults: list[str] | None = None
    ) -> None:
        self._place = place
        self._content = dict(content)
        self._tables: list[_Reader] = []
        self.faults: list[str] = [] if faults is None else faults

    def fault(self, key: str, kind: str) -> None:
        """Note that `key` must be another kind of value."""
        self.faults.append(f"{self._place}: `{key}` must be {kind}")

    def table(self, key: str, *, required: bool = False) -> "_Reader":
        """The sub-table of that name, empty when absent."""
        content = self._content.pop(key, None)
        if (required and content is None) or not isinstance(content, dict | None):
            self.fault(key, "a table")
        found = _Reader(
            f"{self._place} [{key}]", content if isinstance(content, dict) else {}, self.faults
        )
        self._tables.append(found)
        return found

    def text(
        self,
        key: str,
        *,
        required: bool = False,
        form: re.Pattern[str] | None = None,
        kind: str = "text",
    ) -> str:
        """The text of that key, "" when absent."""
        value = self._content.pop(key, "")
        if not isinstance(value, str) or (required and not value):
            self.fault(key, kind)
            return ""
        if value and form and not form.match(value):
            self.fault(key, kind)
            return ""
        return value

    def texts(self, *, form: re.Pattern[str], kind: str) -> Mapping[str, str]:
        """All keys of the table, each with a text of that form."""
        return MappingProxyType({key: self.text(key, form=form, kind=kind) for key in self.keys()})

    def names(self, key: str) -> frozenset[str]:
        """A list of texts."""
        value = self._content.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self.fault(key, "a list of texts")
            return frozenset()
        return frozenset(value)

    def keys(self) -> tuple[str, ...]:
        """What has not been taken yet."""
        return tuple(self._content)

    def rest(self) -> dict[str, Any]:
        """Everything that has not been taken yet."""
        rest, self._content = self._content, {}
        return rest

    def finish(self) -> None:
        """Note every key nobody asked for: a misspelt key is a setting that does nothing."""
        for key in self._content:
            self.faults.append(f"{self._place}: `{key}` is not a known key")
        for table in self._tables:
            table.finish()
