"""The registered sources: who sends, how to recognise them, what their codes mean.

Their files are read by `adapters.source_files`, where every key is explained.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from adapters.expected import Expected
from adapters.notify_policy import NotifyPolicy
from adapters.terminology import Concept
from adapters.validation_policy import ValidationPolicy
from adapters.wire_policy import WirePolicy
from hie.kernel.envelope import Severity
from hie.kernel.ids import SourceId

#: Begins the id of a source that no file names.
ADHOC_PREFIX: Final = "adhoc:"
#: Identifier system of the organisation of such a source.
ADHOC_ORGANIZATION_SYSTEM: Final = "urn:hie:adhoc"

#: The kinds of identity queries there are: other numbers, and persons by description.
QUERIES: Final = frozenset({"pix", "pdq"})

_NAME_BYTES: Final = 64
_OID: Final = re.compile(r"^[012](\.(0|[1-9]\d*))+$")
_URI: Final = re.compile(r"^[a-z][a-z0-9+.-]*:\S+$")
_EMPTY: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationRef:
    """The organisation a source speaks for.

    Attributes:
        parent: `system|value` of the organisation above it; empty for none.
        address: where accountings of disclosures say it is; empty = unknown.
    """

    system: str
    value: str
    name: str
    parent: str = ""
    address: str = ""


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
        wire: how it is answered, numbered and paced.
        expected: how often it speaks; None = it did not say.
        attests_verification: its `Consent.verification` counts as the patient's word.
        overrides: the source's last word on maps, read by the mapper.
        codes: its own codes by concept map, of its CSV files; these come before `overrides`.
        drop_folder: a folder whose files are this source's; empty = none.
        queries: kinds of identity queries it is answered: `pix`, `pdq`.
        query_purpose: what it asks for, and is told for, a v3-ActReason code.
        notify: how it is told of changes of identity.
        validation: what comes of faults of its FHIR beyond structure.
        breaks_glass: users of its organisation may ask for emergency accesses.
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
    wire: WirePolicy = field(default_factory=WirePolicy)
    expected: Expected | None = None
    attests_verification: bool = False
    overrides: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    codes: Mapping[str, Mapping[str, Concept]] = field(default_factory=lambda: _EMPTY)
    drop_folder: str = ""
    queries: frozenset[str] = frozenset()
    query_purpose: str = "TREAT"
    notify: NotifyPolicy = field(default_factory=NotifyPolicy)
    validation: ValidationPolicy = field(default_factory=ValidationPolicy)
    breaks_glass: bool = False
    is_adhoc: bool = False

    @property
    def zone(self) -> ZoneInfo | None:
        """The time zone of times without an offset; None when unknown."""
        return ZoneInfo(self.time_zone) if self.time_zone else None

    def is_named(self, application: str, facility: str) -> bool:
        """Whether MSH-3.1 and MSH-4.1 are those of this source."""
        return self.application in ("", application) and self.facility in ("", facility)

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

    @property
    def allows_adhoc(self) -> bool:
        """Whether senders that no file names are taken."""
        return self._allow_adhoc

    def all(self) -> tuple[Source, ...]:
        """The sources that have a file, in the order of their ids."""
        return tuple(self._by_id[name] for name in sorted(self._by_id))

    def record_systems(self) -> frozenset[str]:
        """The identifier systems that sources number their patients by."""
        return frozenset(s.own_authority for s in self._by_id.values() if s.own_authority)

    def domains(self) -> frozenset[str]:
        """The identifier systems that source files name: those of each source's authorities."""
        return frozenset(
            system
            for source in self._by_id.values()
            for system in (source.own_authority, *source.authorities.values())
            if system
        )

    def by_id(self, source_id: str) -> Source | None:
        """The source of that id; ad-hoc ids are understood wherever ad-hoc is allowed."""
        found = self._by_id.get(SourceId(source_id))
        if found is None and self._allow_adhoc and source_id.startswith(ADHOC_PREFIX):
            application, _, facility = source_id.removeprefix(ADHOC_PREFIX).partition("|")
            return adhoc_source(application, facility)
        return found

    def attests(self, source_id: str) -> bool:
        """Whether the source's word that a patient verified a Consent counts."""
        source = self.by_id(source_id)
        return source is not None and source.attests_verification

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
        named = [s for s in self._by_id.values() if s.is_named(application, facility)]
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
        # There are no such sources but in development, where somebody tries things out.
        attests_verification=True,
        queries=QUERIES,
        is_adhoc=True,
    )


def _local_system(source_id: SourceId, name: str) -> str:
    """The system of an authority that only its source's own name for it tells apart."""
    begin = f"urn:hie:authority:{_quoted(source_id)}:"
    return begin + (_quoted(name) if len(name) <= _NAME_BYTES else quote(name))


@lru_cache(maxsize=4096)
def _quoted(name: str) -> str:
    return quote(name)


def _printable(name: str) -> str:
    """A sender's name fit for an id: no control characters, no `|`, of bounded length."""
    return "".join(c for c in name if c.isprintable() and c != "|")[:_NAME_BYTES].strip()
