"""The registered sources: who sends, how to recognise them, what their codes mean.

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
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from hie.kernel.envelope import Severity
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.ids import SourceId

#: Begins the id of a source that no file names.
ADHOC_PREFIX: Final = "adhoc:"
#: Identifier system of the organisation of such a source.
ADHOC_ORGANIZATION_SYSTEM: Final = "urn:hie:adhoc"

_NAME_BYTES: Final = 64
_ID: Final = re.compile(r"^[a-z0-9][a-z0-9-]{0,62}$")
_OID: Final = re.compile(r"^[012](\.(0|[1-9]\d*))+$")
_URI: Final = re.compile(r"^[a-z][a-z0-9+.-]*:\S+$")
_FINGERPRINT: Final = re.compile(r"^[0-9a-f]{64}$")
_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationRef:
    """The organisation a source speaks for.

    Attributes:
        parent: `system|value` of the organisation above it; empty for none.
    """

    system: str
    value: str
    name: str
    parent: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A sending facility and application, as its file describes it.

    Attributes:
        application: MSH-3.1 it sends; empty = any.
        facility: MSH-4.1 it sends; empty = any.
        certificate: fingerprint (hex) or `CN=<common name>` its connections must show; empty =
            none asked.
        time_zone: IANA name, for times without an offset; empty = unknown.
        charset: HL7 table 0211 code that overrides MSH-18; empty = as sent.
        own_authority: system of the identifiers it issues itself.
        authorities: CX-4 namespace or OID to identifier system.
        severities: conformance rule to severity, where it differs from the default.
        processing_ids: MSH-11 values taken; empty = those of the profile.
        overrides: the source's last word on maps, read by the mapper.
        is_adhoc: no file names it; it has the default policies.
    """

    id: SourceId
    name: str
    organization: OrganizationRef
    application: str = ""
    facility: str = ""
    certificate: str = ""
    time_zone: str = ""
    charset: str = ""
    own_authority: str
    authorities: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    severities: Mapping[str, Severity] = field(default_factory=lambda: _EMPTY)
    processing_ids: frozenset[str] = frozenset()
    overrides: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    is_adhoc: bool = False

    @property
    def zone(self) -> ZoneInfo | None:
        """The time zone of times without an offset; None when unknown."""
        return ZoneInfo(self.time_zone) if self.time_zone else None

    def system_of(self, namespace: str = "", universal_id: str = "", kind: str = "") -> str:
        """The identifier system of an assigning authority (HD: CX-4, EI.2-4, XON-6).

        Args:
            namespace: HD.1.
            universal_id: HD.2.
            kind: HD.3; an OID is also recognised by its form.

        Returns:
            What the source's file says; else `urn:oid:` for an OID, the id itself for a URI,
            `urn:hie:authority:<source>:<namespace>`; the source's own authority when none is
            named.
        """
        for name in (namespace, universal_id):
            if name and name in self.authorities:
                return self.authorities[name]
        if kind in ("ISO", "") and _OID.match(universal_id):
            return f"urn:oid:{universal_id}"
        if kind == "URI" and _URI.match(universal_id):
            return universal_id
        name = namespace or universal_id
        return _local_system(self.id, name) if name else self.own_authority


class SourceRegistry:
    """All sources, found by id or by what a message and its connection say."""

    def __init__(self, sources: Iterable[Source], *, allow_adhoc: bool) -> None:
        self._by_id = {source.id: source for source in sources}
        self._allow_adhoc = allow_adhoc

    def all(self) -> tuple[Source, ...]:
        """The sources that have a file, in the order of their ids."""
        return tuple(self._by_id[name] for name in sorted(self._by_id))

    def by_id(self, source_id: str) -> Source | None:
        """The source of that id; ad-hoc ids are understood wherever ad-hoc is allowed."""
        found = self._by_id.get(SourceId(source_id))
        if found is None and self._allow_adhoc and source_id.startswith(ADHOC_PREFIX):
            application, _, facility = source_id.removeprefix(ADHOC_PREFIX).partition("|")
            return adhoc_source(application, facility)
        return found

    def for_message(
        self,
        application: str,
        facility: str,
        certificate: str | None = None,
        subject: str | None = None,
    ) -> Source | None:
        """The sender of a message: the source whose `[match]` says most of what holds.

        Args:
            application: MSH-3.1.
            facility: MSH-4.1.
            certificate: SHA-256 fingerprint of the connection's client certificate.
            subject: common name of that certificate.

        Returns:
            None for an unknown sender where ad-hoc sources are not allowed, and always for a
            sender that uses a source's names without that source's certificate.
        """
        shown = {certificate, f"CN={subject}" if subject else None} - {None}
        named = [s for s in self._by_id.values() if _is_named(s, application, facility)]
        held = [s for s in named if not s.certificate or s.certificate in shown]
        if held:
            return max(held, key=lambda s: (bool(s.application), bool(s.facility), s.certificate))
        claims = any(s.application or s.facility for s in named)
        if claims or not self._allow_adhoc:
            return None
        return adhoc_source(application, facility)


def adhoc_source(application: str, facility: str) -> Source:
    """The source of a sender that no file names, with default policies."""
    return _adhoc_source(_printable(application), _printable(facility))


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


@lru_cache(maxsize=1024)
def _adhoc_source(application: str, facility: str) -> Source:
    source_id = SourceId(f"{ADHOC_PREFIX}{application}|{facility}")
    name = " ".join(part for part in (facility, application) if part) or "unnamed sender"
    return Source(
        id=source_id,
        name=name,
        organization=OrganizationRef(
            system=ADHOC_ORGANIZATION_SYSTEM, value=facility or application or "unnamed", name=name
        ),
        application=application,
        facility=facility,
        own_authority=f"urn:hie:authority:{quote(source_id)}",
        is_adhoc=True,
    )


def _local_system(source_id: SourceId, name: str) -> str:
    """The system of an authority that only its source's own name for it tells apart."""
    begin = f"urn:hie:authority:{_quoted(source_id)}:"
    return begin + (_quoted(name) if len(name) <= _NAME_BYTES else quote(name))


@lru_cache(maxsize=4096)
def _quoted(name: str) -> str:
    return quote(name)


def _is_named(source: Source, application: str, facility: str) -> bool:
    return source.application in ("", application) and source.facility in ("", facility)


def _printable(name: str) -> str:
    """A sender's name fit for an id: no control characters, no `|`, of bounded length."""
    return "".join(c for c in name if c.isprintable() and c != "|")[:_NAME_BYTES].strip()


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
