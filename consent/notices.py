"""The notices of the law on what it keeps close, as codings of `meta.security` (pure).

They leave with the resource wherever it goes: Bundles, exports, notifications, older versions.
Spec: 42 CFR 2.32, M.G.L. c.111 s.70F; http://terminology.hl7.org/CodeSystem/v3-ActCode, NODSCLCD
"""

from typing import Any, Final

from consent.evaluate import Law
from consent.labels import LabelTable
from hie.kernel.fhir import FhirJson

SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
CODE: Final = "NODSCLCD"
#: Extension of the coding that says the notice in words.
NOTICE: Final = "urn:hie:extension:disclosure-notice"
_DISPLAY: Final = "no disclosure without consent directive"


class Stamp:
    """Label mask to the codings of `meta.security`: labels, then notices.

    Args:
        table: the labels.
        law: which of them carry which notice.
    """

    def __init__(self, table: LabelTable, law: Law) -> None:
        self._table = table
        self._law = law
        self._texts = frozenset(law.settings.obligations.values())

    def codings(self, mask: int) -> list[FhirJson]:
        """The labels, then one coding for each notice, its words in an extension."""
        notices = [
            {
                "extension": [{"url": NOTICE, "valueString": obligation.text}],
                "system": SYSTEM,
                "code": CODE,
                "display": _DISPLAY,
            }
            for obligation in self._law.obligations(mask)
        ]
        return [*self._table.codings(mask), *notices]

    def asked(self, system: str | None, code: str | None) -> list[tuple[int, int]]:
        """The masks whose codings hold a coding, as (bits that count, how they must be)."""
        ways = self._table.asked(system, code)
        if system in (None, SYSTEM) and code in (None, CODE):
            ways += [(bit, bit) for bit in self._law.noticed_bits]
        return ways

    def is_ours(self, coding: Any) -> bool:
        """Whether the mask tells a coding again by itself: a label, or a notice of the hub's."""
        if self._table.knows([coding]):
            return True
        extensions = coding.get("extension") if isinstance(coding, dict) else None
        if not isinstance(extensions, list):
            return False
        return any(
            isinstance(one, dict)
            and one.get("url") == NOTICE
            and isinstance(one.get("valueString"), str)
            and one["valueString"] in self._texts
            for one in extensions
        )
