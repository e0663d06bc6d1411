"""A Consent in plain words, as data says them (pure).

The words follow the provisions as they are written; what the hub reads in them differs only
where it does not understand something, and such a Consent is refused or told as waiting.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from consent.from_fhir.provision import codes_of, dicts
from hie.consents.content import period_of
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

#: Levels of provisions that are put in words.
_DEPTH: Final = 20
_SECTIONS: Final = ("say", "do", "purposes", "labels", "types", "standing", "receipt", "by")
#: Roles by which an actor is whose information it is about.
_SENDERS: Final = frozenset({"CST", "SOURCE"})
_MODIFIED: Final = ("access",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainWords:
    """The sentences of `config/consent/receipts/plain.toml`."""

    language: str
    normal_policies: frozenset[str]
    closing_policies: frozenset[str]
    sections: Mapping[str, Mapping[str, str]]

    def say(self, name: str, **filled: str) -> str:
        """A sentence, its places filled in."""
        return self.sections["say"][name].format(**filled)

    def word(self, section: str, code: str) -> str:
        """The words of a code; the code itself where there are none."""
        return self.sections[section].get(code, code)


def load_plain(path: Path) -> PlainWords:
    """The words of a file.

    Raises:
        HieError: INVALID, naming file and key.
    """
    try:
        told = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise HieError(Category.INVALID, f"receipts/{path.name}: expected TOML") from error
    for section in _SECTIONS:
        found = told.get(section)
        if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
            text = f"receipts/{path.name}: `{section}`: expected a table of texts"
            raise HieError(Category.INVALID, text)
    for key in ("normal_policies", "closing_policies"):
        if not isinstance(told.get(key), list):
            text = f"receipts/{path.name}: `{key}`: expected a list of texts"
            raise HieError(Category.INVALID, text)
    return PlainWords(
        language=str(told.get("language", "en")),
        normal_policies=frozenset(map(str, told["normal_policies"])),
        closing_policies=frozenset(map(str, told["closing_policies"])),
        sections={name: told[name] for name in _SECTIONS},
    )


def lines(
    consent: FhirJson, names: Mapping[str, str], words: PlainWords, *, is_over: bool
) -> tuple[str, ...]:
    """What a Consent says, a sentence for each provision.

    Args:
        consent: R4.
        names: `Organization/<id>` and the like to what people call them.
        words: the sentences.
        is_over: its own status ended it.
    """
    told = [words.say("over")] if is_over else []
    root = consent.get("provision")
    base = dict(root) if isinstance(root, dict) else {}
    policies = {str(one.get("uri", "")) for one in dicts(consent.get("policy"))}
    policies |= {*codes_of(consent.get("policyRule"))}
    base.setdefault("type", _base_of(policies, words))
    is_general = base["type"] == "permit" and "securityLabel" not in base
    if is_general and policies & words.normal_policies:
        base["securityLabel"] = [{"code": "N"}]
    told += _said(base, {}, names, words, 0)
    if is_general:
        told.append(words.say("kept"))
    start, end = period_of(consent)
    if start or end:
        told.append(
            words.say(
                "holds",
                start=start or words.say("open_start"),
                end=end or words.say("open_end"),
            )
        )
    return tuple(told)


def organizations_of(consent: FhirJson) -> tuple[str, ...]:
    """References of everybody a Consent names in its provisions, in their order."""
    found: dict[str, None] = {}
    for provision in provisions(consent.get("provision")):
        for actor in dicts(provision.get("actor")):
            for reference in dicts(actor.get("reference")):
                named = reference.get("reference") or reference.get("display")
                if isinstance(named, str):
                    found[named] = None
    return tuple(found)


def purposes_of(consent: FhirJson) -> tuple[str, ...]:
    """Codes of the purposes a Consent names, in their order."""
    found = [
        str(coding.get("code", ""))
        for provision in provisions(consent.get("provision"))
        for coding in dicts(provision.get("purpose"))
    ]
    return tuple(dict.fromkeys(code for code in found if code))


def provisions(root: Any, depth: int = 0) -> Iterator[FhirJson]:
    """A provision and those below it."""
    if isinstance(root, dict) and depth < _DEPTH:
        yield root
        for nested in dicts(root.get("provision")):
            yield from provisions(nested, depth + 1)


def _base_of(policies: set[str], words: PlainWords) -> str:
    """What the policies come to: the strictest of them."""
    is_open = bool(policies & {"OPTIN", *words.normal_policies})
    return "permit" if is_open and not policies & words.closing_policies else "deny"


def _said(
    provision: FhirJson,
    outer: FhirJson,
    names: Mapping[str, str],
    words: PlainWords,
    depth: int,
) -> Iterator[str]:
    whole = {**{n: v for n, v in outer.items() if n not in ("provision", "type")}, **provision}
    kind = "permit" if provision.get("type") == "permit" else "deny"
    yield words.say(
        kind if depth == 0 else f"but_{kind}",
        who=_who(whole, names, words, kind),
        do=_do(whole, words),
        what=_what(whole, names, words, kind),
        why=_why(whole, words),
    )
    if depth < _DEPTH:
        for nested in dicts(provision.get("provision")):
            yield from _said(nested, whole, names, words, depth + 1)


def _who(provision: FhirJson, names: Mapping[str, str], words: PlainWords, kind: str) -> str:
    found = _actors(provision, names, is_sender=False)
    return _joined(found, words) if found else words.say(f"{kind}_anyone")


def _do(provision: FhirJson, words: PlainWords) -> str:
    codes = [code for concept in dicts(provision.get("action")) for code in codes_of(concept)]
    return _joined([words.word("do", code) for code in codes or _MODIFIED], words)


def _what(provision: FhirJson, names: Mapping[str, str], words: PlainWords, kind: str) -> str:
    told = []
    if labels := [str(one.get("code", "")) for one in dicts(provision.get("securityLabel"))]:
        is_normal = labels == ["N"]
        said = _joined([words.word("labels", code) for code in labels], words)
        told.append(words.say("normal") if is_normal else words.say("labelled", labels=said))
    if types := [str(one.get("code", "")) for one in dicts(provision.get("class"))]:
        said = _joined([words.word("types", code) for code in types], words)
        told.append(words.say("typed", types=said))
    if senders := _actors(provision, names, is_sender=True):
        told.append(words.say("sent_by", senders=_joined(senders, words)))
    if provision.get("data"):
        told.append(words.say("of_these"))
    if provision.get("code"):
        told.append(words.say("coded"))
    period = provision.get("dataPeriod")
    dated = ""
    if isinstance(period, dict):
        start, end = str(period.get("start", "")), str(period.get("end", ""))
        dated = words.say("dated", start=start or words.say("first"), end=end or words.say("last"))
    return (_joined(told, words) if told else words.say(f"{kind}_everything")) + dated


def _why(provision: FhirJson, words: PlainWords) -> str:
    codes = [str(one.get("code", "")) for one in dicts(provision.get("purpose"))]
    said = _joined([words.word("purposes", code) for code in codes], words)
    return f" {said}" if said else ""


def _actors(provision: FhirJson, names: Mapping[str, str], *, is_sender: bool) -> list[str]:
    found = []
    for actor in dicts(provision.get("actor")):
        is_one = bool(_SENDERS & set(codes_of(actor.get("role"))))
        for reference in dicts(actor.get("reference")):
            if is_one == is_sender:
                named = str(reference.get("reference", ""))
                found.append(names.get(named) or str(reference.get("display", "")) or named)
    return found


def _joined(words_of: Sequence[str], words: PlainWords) -> str:
    """`a, b and c`."""
    *head, last = words_of or ("",)
    return (", ".join(head) + words.say("and") + last) if head else last
