"""A receipt: what was agreed, in plain words, and a signature anybody can check (pure).

The file is a PDF and, after its last line, one comment line:

    %hie-receipt 1 <id of the key> <Ed25519 signature of everything before it, in base64>

So the whole of what is read is signed, and a reader that shows PDF shows the receipt.
Spec: RFC 8032 (Ed25519); RFC 8785 in what matters here: members sorted, no blanks, UTF-8
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hie.consents.plain import PlainWords
from hie.kernel.fhir import FhirJson

#: Keeps a signature of a receipt from being one of anything else.
_CONTEXT: Final = b"hie-receipt-1\x00"
_TRAILER: Final = re.compile(
    rb"\n%hie-receipt 1 (?P<key>[0-9a-f]{16}) (?P<signature>[A-Za-z0-9+/]{86}==)\n\Z"
)
_STYLE: Final = (
    "@page{size:A4;margin:22mm 20mm;@bottom-center{content:counter(page) ' / ' counter(pages);"
    "font:9pt 'DejaVu Sans',sans-serif}}"
    "body{font:11pt/1.5 'DejaVu Sans',sans-serif;color:#1b1b1b}"
    "h1{font-size:18pt;margin:0 0 4mm}h2{font-size:13pt;margin:7mm 0 2mm}"
    "p{margin:0 0 2mm}table{border-collapse:collapse;width:100%}"
    "th,td{text-align:left;vertical-align:top;padding:1mm 3mm 1mm 0;border-bottom:.3pt solid #888}"
    "th{width:34%;font-weight:600}code{font:9pt 'DejaVu Sans Mono',monospace;"
    "overflow-wrap:anywhere}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What a receipt tells.

    Attributes:
        act: what was done, in the words of `[receipt]`.
        patient: whom it is about, as the receipt names them; (label, value).
        said: the Consent in plain words.
        details: rows of "who" and of "how it was recorded": (label, value).
        consent_hash: SHA-256 of the canonical Consent, in hexadecimal.
    """

    consent_id: str
    version: int
    act: str
    said: Sequence[str]
    parties: Sequence[tuple[str, str]]
    papers: Sequence[tuple[str, str]]
    consent_hash: str
    key_id: str


def canonical(resource: FhirJson) -> bytes:
    """A resource in the one form it is hashed in: sorted, without blanks, in UTF-8."""
    return json.dumps(
        resource, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str
    ).encode()


def hash_of(resource: FhirJson) -> str:
    """SHA-256 of a resource's canonical form, in hexadecimal."""
    return hashlib.sha256(canonical(resource)).hexdigest()


def html(content: Content, words: PlainWords) -> str:
    """The receipt as one page of HTML: title, language, headings and tables in reading order."""
    say = words.sections["receipt"]
    name = f"Consent/{content.consent_id}"
    said = "".join(f"<p>{escape(line)}</p>" for line in content.said)
    proof = (
        (say["consent"], f"{name}, {say['version']} {content.version}"),
        (say["hash"], content.consent_hash),
        (say["key"], content.key_id),
    )
    return (
        f'<!doctype html><html lang="{escape(words.language)}"><head><meta charset="utf-8">'
        f"<title>{escape(say['title'])}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(say['title'])}</h1><p>{escape(content.act)}</p>"
        f"<h2>{escape(say['what'])}</h2>{said}"
        f"<h2>{escape(say['who'])}</h2>{_table(content.parties)}"
        f"<h2>{escape(say['papers'])}</h2>{_table(content.papers)}"
        f"<h2>{escape(say['check'])}</h2>{_table(proof, is_code=True)}"
        f"<p>{escape(say['explain'])}</p></body></html>"
    )


def _table(rows: Sequence[tuple[str, str]], *, is_code: bool = False) -> str:
    cell = "<code>{}</code>" if is_code else "{}"
    told = "".join(
        f'<tr><th scope="row">{escape(label)}</th><td>{cell.format(escape(value))}</td></tr>'
        for label, value in rows
        if value
    )
    return f"<table>{told}</table>"


def key_id(public: Ed25519PublicKey) -> str:
    """The name of a key: the beginning of the SHA-256 of its 32 bytes."""
    raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return hashlib.sha256(raw).hexdigest()[:16]


def public_pem(public: Ed25519PublicKey) -> str:
    """The public key as others take it in."""
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signed(pdf: bytes, key: Ed25519PrivateKey) -> bytes:
    """The file with its signature behind it."""
    signature = base64.b64encode(key.sign(_CONTEXT + pdf))
    return b"%b\n%%hie-receipt 1 %b %b\n" % (pdf, key_id(key.public_key()).encode(), signature)


@dataclass(frozen=True, slots=True)
class Checked:
    """What the check of a file came to; `why` is empty where the signature holds."""

    is_genuine: bool
    key_id: str = ""
    why: str = ""


def check(file: bytes, keys: Mapping[str, Ed25519PublicKey]) -> Checked:
    """Whether a file is a receipt as one of these keys signed it.

    Args:
        file: the whole of it.
        keys: by `key_id`.
    """
    found = _TRAILER.search(file)
    if found is None:
        return Checked(is_genuine=False, why="it carries no signature of a receipt at its end")
    name = found["key"].decode()
    if name not in keys:
        return Checked(is_genuine=False, key_id=name, why="it is signed with another key")
    try:
        keys[name].verify(base64.b64decode(found["signature"]), _CONTEXT + file[: found.start()])
    except InvalidSignature:
        return Checked(is_genuine=False, key_id=name, why="it was changed after it was signed")
    return Checked(is_genuine=True, key_id=name)
