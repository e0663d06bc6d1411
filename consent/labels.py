"""Resource to confidentiality and sensitivity labels, as bits of one mask (pure).

A label is found in codes at any depth, in the words of a concept, note, title or attached
text, in the source, and in what the sender wrote in `meta.security`; nothing takes a label
away. Free text cannot be taken apart: one word in it labels the whole resource.

Spec: https://hl7.org/fhir/R4/security-labels.html; HL7 Healthcare Privacy and Security
Classification System: exactly one confidentiality, the highest of the parts.
"""

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from consent.regime import CodeList, Sensitivity
from consent.takes import Takes
from hie.kernel.fhir import FhirJson

#: Codes whose labels are remembered; a feed uses a few thousand.
CACHE_LIMIT: Final = 50_000
_WORD: Final = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of one resource as bits of `config/sensitivity/labels.toml`."""

    mask: int = 0


class LabelTable:
    """The bits of the labels, and what a consent means by naming one."""

    def __init__(self, sensitivity: Sensitivity) -> None:
        self._sensitivity = sensitivity
        self._levels: dict[str, int] = {}
        below = 0
        for level in sensitivity.levels:
            below |= 0 if level.bit is None else 1 << level.bit
            self._levels[level.code] = below
        self._bits = {label.code: 1 << label.bit for label in sensitivity.labels}
        self._raises = {
            label.code: 1 << label.bit | self._levels[label.implies] for label in sensitivity.labels
        }
        self._covers = {label.code: self._closure(label.code) for label in sensitivity.labels}
        self._systems = sensitivity.systems | {label.system for label in sensitivity.labels}

    def _closure(self, code: str) -> int:
        covers = {label.code: label.covers for label in self._sensitivity.labels}
        seen, left = {code}, [code]
        while left:
            new = set(covers[left.pop()]) - seen
            seen |= new
            left.extend(new)
        return sum(self._bits[found] for found in seen)

    def bits(self, codes: Iterable[str]) -> int:
        """The bits of these labels alone; KeyError where one is not a label."""
        return sum(self._bits[code] for code in set(codes))

    def codes(self, mask: int) -> tuple[str, ...]:
        """The sensitivities in a mask, in the order of their bits."""
        return tuple(code for code, bit in self._bits.items() if mask & bit)

    def raised(self, codes: Iterable[str]) -> int:
        """The mask of a resource with these labels: each with the confidentiality it implies."""
        mask = 0
        for code in codes:
            mask |= self._raises[code]
        return mask

    def codings(self, mask: int) -> list[FhirJson]:
        """`meta.security` of a mask: one confidentiality, then the sensitivities."""
        sensitivity = self._sensitivity
        reached = [
            level
            for level in sensitivity.levels
            if (level.bit is not None and mask >> level.bit & 1) or level.code == sensitivity.normal
        ]
        codings = [
            {
                "system": sensitivity.confidentiality_system,
                "code": reached[-1].code,
                "display": reached[-1].display,
            }
        ]
        codings.extend(
            {"system": label.system, "code": label.code, "display": label.display}
            for label in sensitivity.labels
            if mask >> label.bit & 1
        )
        return codings

    def asked(self, system: str | None, code: str | None) -> list[tuple[int, int]]:
        """The masks whose `codings` hold a coding, as (bits that count, how they must be).

        Args:
            system: None = any.
            code: None = any of the system.
        """
        sensitivity, ways, later = self._sensitivity, list[tuple[int, int]](), 0
        if system in (None, sensitivity.confidentiality_system):
            for level in reversed(sensitivity.levels):
                own = 0 if level.bit is None else 1 << level.bit
                if code in (None, level.code):
                    ways.append((own | later, own))
                later |= own
                if level.code == sensitivity.normal:
                    break  # every mask reaches it: none is below
        for label in sensitivity.labels:
            if system in (None, label.system) and code in (None, label.code):
                ways.append((1 << label.bit, 1 << label.bit))
        return ways

    def mask_of(self, codings: Sequence[Any]) -> int:
        """What a sender's `meta.security` raises; an unknown code is sensitive too."""
        mask = 0
        for coding in codings:
            code = self._code(coding)
            if code in self._raises:
                mask |= self._raises[code]
            elif code in self._levels:
                mask |= self._levels[code]
            elif not self._is_handling(coding, code):
                mask |= self._raises[self._sensitivity.unknown]
        return mask

    def known(self, system: str, code: str) -> int:
        """The bits of a label wherever it is written, an inline label among them; else 0."""
        return self._raises.get(code, 0) if system in self._sensitivity.systems else 0

    def permitted(self, codings: Sequence[Any]) -> int | None:
        """What a permit that names these labels covers; None where it names none the hub knows.

        A confidentiality alone covers all sensitivities that need no more than it; named
        sensitivities cover themselves, what they cover, and the confidentiality they imply.
        """
        codes = [self._code(coding) for coding in codings if self._is_ours(coding)]
        named = [code for code in codes if code in self._covers]
        levels = [self._levels[code] for code in codes if code in self._levels]
        if not named and not levels:
            return None
        level = max(levels, default=0)
        covered = 0
        for code in named:
            covered |= self._covers[code]
        if not named:
            return level | self._within(level)
        return level | self.raised(self.codes(covered))

    def denied(self, codings: Sequence[Any]) -> int | None:
        """What a deny that names these labels shares; None = everything.

        A confidentiality means itself and all above it, so `N` and below mean everything, as
        does a label the hub does not know.
        """
        mask = 0
        for coding in codings:
            code = self._code(coding) if self._is_ours(coding) else ""
            bits = self._covers.get(code) or self._top(code)
            if not bits:
                return None
            mask |= bits
        return mask

    def knows(self, codings: Sequence[Any]) -> bool:
        """Whether the hub knows every one of these labels."""
        codes = [self._code(coding) for coding in codings if self._is_ours(coding)]
        return len(codes) == len(codings) and all(
            code in self._bits or code in self._levels for code in codes
        )

    def named(self, codings: Sequence[Any]) -> frozenset[str]:
        """The sensitivities a consent names in so many words."""
        codes = (self._code(coding) for coding in codings if self._is_ours(coding))
        return frozenset(code for code in codes if code in self._bits)

    def _within(self, level: int) -> int:
        return sum(
            bit for code, bit in self._bits.items() if self._raises[code] & ~bit & ~level == 0
        )

    def _top(self, code: str) -> int:
        bits = [level.bit for level in self._sensitivity.levels if level.code == code]
        return 1 << bits[0] if bits and bits[0] is not None else 0

    def _code(self, coding: Any) -> str:
        code = coding.get("code") if isinstance(coding, dict) else None
        return self._sensitivity.aliases.get(code, code) if isinstance(code, str) else ""

    def _is_ours(self, coding: Any) -> bool:
        if not isinstance(coding, dict):
            return False
        system = coding.get("system")
        return system is None or (isinstance(system, str) and system in self._systems)

    def _is_handling(self, coding: Any, code: str) -> bool:
        system = str(coding.get("system")) if isinstance(coding, dict) else ""
        return (
            system in self._sensitivity.handling_systems or code in self._sensitivity.handling_codes
        )


class Labeller:
    """Finds the labels of a resource; built once, used by every write.

    Args:
        sensitivity: labels, code lists, words.
        remembered: codes whose labels are kept at hand.
    """

    def __init__(self, sensitivity: Sensitivity, *, remembered: int = CACHE_LIMIT) -> None:
        self.table = LabelTable(sensitivity)
        self.takes = Takes(sensitivity.takes)
        self.sensitivity = sensitivity
        self._lists: dict[str, list[_Codes]] = {}
        for codes in sensitivity.lists:
            made = _Codes(codes, self.table)
            for system in codes.systems:
                self._lists.setdefault(system, []).append(made)
        self._phrases: dict[str, list[tuple[list[str], frozenset[str], int]]] = {}
        for line in sensitivity.words:
            found = (list(line.phrase[1:]), line.unless, self.table.raised(line.labels))
            self._phrases.setdefault(line.phrase[0], []).append(found)
        #: Elements whose text may bring a label.
        self._telling = sensitivity.text_elements | {"code", "data", "resourceType"}
        self._known: dict[tuple[str, str], int] = {}
        self._remembered = remembered

    def of_source(self, source_id: str) -> int:
        """The mask of the labels that everything from a feed carries; 0 for most."""
        return self.table.raised(self.sensitivity.sources.get(source_id, ()))

    def labels(
        self, resource: FhirJson, *, source_id: str = "", beside: Iterable[FhirJson] = ()
    ) -> Labels:
        """The labels of a resource.

        Args:
            resource: FHIR JSON, contained resources and all.
            source_id: the feed it comes from; some carry a label on everything.
            beside: resources whose content it takes over, the Medication of a request.
        """
        mask = self.of_source(source_id)
        for node in (resource, *beside):
            mask |= self._mask(node)
        return Labels(mask)

    def codings(self, mask: int) -> list[FhirJson]:
        """`meta.security` of a mask: one confidentiality, then the sensitivities."""
        return self.table.codings(mask)

    def mask_of(self, codings: Sequence[FhirJson]) -> int:
        """What a sender's `meta.security` raises."""
        return self.table.mask_of(codings)

    def code(self, system: str, code: str) -> int:
        """The mask that one code brings."""
        return self._coded(system, code)

    def text(self, said: str) -> int:
        """The mask that the words of a text bring."""
        return self._said(said)

    def _mask(self, resource: FhirJson) -> int:
        mask, left = 0, [resource]
        while left:
            node = left.pop()
            for name, value in node.items():
                if isinstance(value, str):
                    if name in self._telling:
                        mask |= self._told(name, value, node)
                elif isinstance(value, dict):
                    left.append(value)
                elif isinstance(value, list):
                    left += [item for item in value if isinstance(item, dict)]
                    if name == "security":
                        mask |= self.table.mask_of(value)
        return mask

    def _told(self, name: str, value: str, node: FhirJson) -> int:
        """What one string of an element brings."""
        mask = 0
        if name == "code":
            mask |= self._coded(node.get("system"), value)
        if name in self.sensitivity.text_elements:
            mask |= self._said(value)
        if name == "data":
            mask |= self._said(self._readable(node))
        if name == "resourceType" and value in self.sensitivity.named and "name" in node:
            mask |= self._said(str(node["name"]))
        return mask

    def _readable(self, node: FhirJson) -> str:
        """The text of an Attachment or Binary, if it is one; what is cut off was not read."""
        kind, data = node.get("contentType"), node["data"]
        if not isinstance(kind, str) or not isinstance(data, str):
            return ""
        if not kind.lower().startswith(self.sensitivity.readable):
            return ""
        limit = self.sensitivity.content_bytes // 3 * 4
        try:
            found = base64.b64decode(data[:limit])
        except binascii.Error:
            return ""  # no base64: nothing can be read out of it
        return found.decode("utf-8", "replace")

    def _coded(self, found: Any, code: str) -> int:
        system = found if isinstance(found, str) else ""
        key = (system, code)
        mask = self._known.get(key)
        if mask is None:
            mask = self.table.known(system, code)
            for listed in self._lists.get(system, ()):
                mask |= listed.mask(code)
            if len(self._known) >= self._remembered:
                self._known.clear()
            self._known[key] = mask
        return mask

    def _said(self, text: str) -> int:
        words = _WORD.findall(text.lower())
        mask = 0
        for position, word in enumerate(words, start=1):
            for rest, unless, labels in self._phrases.get(word, ()):
                if words[position : position + len(rest)] == rest and unless.isdisjoint(words):
                    mask |= labels
        return mask


class _Codes:
    """One code list, as a mask by code."""

    def __init__(self, codes: CodeList, table: LabelTable) -> None:
        self._exact: dict[str, int] = {}
        self._ranges: list[tuple[str, str, int]] = []
        self._is_ndc = codes.is_ndc
        masks: dict[tuple[str, ...], int] = {}
        for written, labels in codes.lines:
            mask = masks.get(labels) or masks.setdefault(labels, table.raised(labels))
            if codes.is_prefix:
                first, _, last = _plain(written).partition("-")
                self._ranges.append((first, last or first, mask))
            else:
                self._exact[written] = self._exact.get(written, 0) | mask
        self._ranges.sort()
        self._firsts = [first for first, _, _ in self._ranges]

    def mask(self, code: str) -> int:
        """The labels of a code; a code below a listed one has its labels."""
        mask = self._exact.get(code, 0)
        if self._is_ndc:
            for package in packages(code):
                mask |= self._exact.get(package, 0)
        if not self._ranges:
            return mask
        plain = _plain(code)
        for _, last, labels in self._ranges[: bisect_right(self._firsts, plain)]:
            if plain[: len(last)] <= last:
                mask |= labels
        return mask


def packages(code: str) -> tuple[str, ...]:
    """The 11 digits that a package code may mean: 5-4-2 with hyphens, else with a 0 put in."""
    parts = code.split("-")
    if not all(part.isdigit() for part in parts):
        return ()
    if len(parts) == 3:
        return ("".join(part.zfill(size) for part, size in zip(parts, (5, 4, 2), strict=True)),)
    if len(parts) == 1 and len(code) == 10:
        return tuple(code[:at] + "0" + code[at:] for at in (0, 5, 9))
    return (code,) if len(parts) == 1 else ()


def _plain(code: str) -> str:
    """An ICD code without its dot, as claims and some feeds write it."""
    return code.replace(".", "").upper()
