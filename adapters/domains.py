"""Patient identification domains: HL7 v2's assigning authorities and FHIR's identifier systems.

A domain is known by the sources' files. The one a source issues numbers in itself
(`own_authority`) is a patient identification domain; what else its `[authorities]` name may be
one of persons' numbers at large, such as a social security number.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

from adapters.sources import ADHOC_PREFIX, Source, SourceRegistry

_OID: Final = "urn:oid:"
_LOCAL: Final = "urn:hie:authority:"
#: Of a source without a file, in development alone.
_ADHOC: Final = f"{_LOCAL}{quote(ADHOC_PREFIX)}"


class Authority(NamedTuple):
    """An assigning authority as HL7 v2 writes it: data type HD."""

    namespace: str = ""
    universal_id: str = ""
    kind: str = ""


class Domains:
    """Translates domains; one for all sources."""

    def __init__(self, sources: SourceRegistry) -> None:
        files = sources.all()
        self._issued = frozenset(source.own_authority for source in files)
        self._named = _names(files)
        named = {system for source in files for system in source.authorities.values()}
        self._known = self._issued | named
        self._by_name = {name: system for system, name in self._named.items()}

    def system(self, source: Source, authority: Authority) -> str:
        """The identifier system that a source means; its own where it names none.

        A name that its file does not know is taken as the source it belongs to says.
        """
        system = source.system_of(*authority)
        if self.knows(source, system) or authority.universal_id:
            return system
        return self._by_name.get(authority.namespace, system)

    def knows(self, source: Source, system: str) -> bool:
        """Whether a system is that of a domain; an ad-hoc source's own names always are."""
        return system in self._known or self.is_own(source, system)

    def is_of_patients(self, source: Source, system: str) -> bool:
        """Whether numbers of a system are those of some source's patients."""
        return system in self._issued or self.is_own(source, system) or system.startswith(_ADHOC)

    def is_own(self, source: Source, system: str) -> bool:
        """Whether a system is one of a source's own making."""
        return system == source.own_authority or (
            source.is_adhoc and system.startswith(source.own_authority)
        )

    def authority(self, source: Source, system: str) -> Authority:
        """How a system is written to a source: in the words of its own file where it has any."""
        own = {known: name for name, known in _local_names(source)}
        name = own.get(system) or self._named.get(system, "")
        if system.startswith(_OID):
            return Authority(name, system.removeprefix(_OID), "ISO")
        prefix = f"{source.own_authority}:"
        if system.startswith(_LOCAL) and system.startswith(prefix):
            return Authority(unquote(system.removeprefix(prefix)))
        return Authority(name, system, "URI")


def _names(files: Iterable[Source]) -> dict[str, str]:
    """What the issuer of each system calls it."""
    found: dict[str, str] = {}
    for source in files:
        for name, system in _local_names(source):
            if system == source.own_authority:
                found.setdefault(system, name)
    return found


def _local_names(source: Source) -> Iterable[tuple[str, str]]:
    """A source's names of authorities, without those that are OIDs."""
    return (
        (name, system)
        for name, system in source.authorities.items()
        if not name.replace(".", "").isdigit()
    )
