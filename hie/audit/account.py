"""Accountings of disclosures: from events of the trail to the lines of a form, CSV and HTML (pure).

One line a disclosure, or one for each recipient and person where the form groups: when, to whom
and where they are, what for, which kinds of data, on what it rested, and whether it was an
emergency access. Contents are never told.
Spec: 45 CFR 164.528(b), 42 CFR 2.24, 2.25, M.G.L. c. 118I s. 11
"""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Final

from hie.audit.event import SUCCESS, AuditRecord
from hie.audit.words import AuditWords, Form, types_of
from hie.kernel.clock import instant

#: Purposes of emergency access: asked for by name, told of in every form.
EMERGENCY: Final = frozenset({"BTG", "ETREAT"})
#: Events by which something of a record left; others are the hub's own work.
DISCLOSED: Final = frozenset(
    {
        "read",
        "vread",
        "history-instance",
        "history-type",
        "search-type",
        "search-system",
        "operation",
        "disclose",
    }
)
COLUMNS: Final = (
    "Date and time (UTC)",
    "Last date and time (UTC)",
    "Number",
    "Recipient",
    "Address",
    "Person",
    "Purpose",
    "Kinds of information",
    "Relied on",
    "Emergency access",
)
#: What a spreadsheet would take for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_STYLE: Final = (
    "@page{size:Letter landscape;margin:15mm;@bottom-right{content:counter(page) ' / '"
    " counter(pages)}}body{font:9pt 'DejaVu Sans',sans-serif}h1{font-size:15pt}"
    "table{border-collapse:collapse;width:100%}th,td{border:.5pt solid #666;padding:2pt 4pt;"
    "text-align:left;vertical-align:top}thead{display:table-header-group}"
    "tr{break-inside:avoid}th{background:#eee}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of an accounting, in words.

    Attributes:
        at_us, until_us: the first and the last disclosure of the line.
        person: who sat at the screen; "" where nobody was named.
        relied_on: consent, own information, law; "" where the trail does not say.
    """

    at_us: int
    until_us: int
    number: int
    recipient: str
    address: str
    person: str
    purpose: str
    kinds: tuple[str, ...]
    relied_on: str
    is_emergency: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An accounting.

    Attributes:
        since_us, until_us: the time it covers.
    """

    form: Form
    person_id: str
    made_us: int
    since_us: int
    until_us: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Whom ids mean.

    Attributes:
        organization: name and address; "" where unknown.
        person: a user as people call them.
    """

    organization: Callable[[str], tuple[str, str]]
    person: Callable[[str], str]


def is_listed(
    record: AuditRecord, form: Form, subsumed: Callable[[str], frozenset[str]], mask: int
) -> bool:
    """Whether a form lists an event.

    Args:
        record: of the person the accounting is about.
        form: what it leaves out.
        subsumed: a purpose and all that subsumes it.
        mask: of `form.labels`.
    """
    detail = record.detail
    if record.outcome != SUCCESS or record.subtype not in DISCLOSED:
        return False
    is_own = record.organization is None and (record.user or "").startswith("Patient/")
    if form.leaves_out_own and is_own:
        return False
    is_emergency = record.purpose in EMERGENCY
    if not is_emergency and subsumed(record.purpose) & {*form.leaves_out}:
        return False
    if form.labels and not int(detail.get("labels", 0)) & mask:
        return False
    return not form.grounds or not {*form.grounds}.isdisjoint(detail.get("grounds", ()))


def lines_of(records: Iterable[AuditRecord], words: AuditWords, names: Names) -> list[Line]:
    """A line for each event, in their order."""
    return [_line(record, words, names) for record in records]


def _line(record: AuditRecord, words: AuditWords, names: Names) -> Line:
    recipient, address = "The exchange", ""
    if record.organization:
        called, address = names.organization(record.organization)
        recipient = called or f"Organization/{record.organization}"
    grounds = [words.ground.get(code, code) for code in record.detail.get("grounds", ())]
    consents = [f"Consent/{one}" for one in record.detail.get("consents", ())]
    return Line(
        at_us=record.recorded_us,
        until_us=record.recorded_us,
        number=1,
        recipient=recipient if record.organization or not _is_patient(record) else "The patient",
        address=address,
        person="" if _is_patient(record) else names.person(record.user or ""),
        purpose=words.why(record.purpose),
        kinds=words.categories(types_of(record)),
        relied_on="; ".join([*grounds, *consents]),
        is_emergency=record.purpose in EMERGENCY or "emergency" in record.detail.get("grounds", ()),
    )


def _is_patient(record: AuditRecord) -> bool:
    return (record.user or "").startswith("Patient/")


def grouped(lines: Iterable[Line]) -> tuple[Line, ...]:
    """One line for each recipient, person, purpose and emergency, the latest first."""
    found: dict[tuple[str, str, str, str, bool], Line] = {}
    for one in lines:
        key = (one.recipient, one.address, one.person, one.purpose, one.is_emergency)
        before = found.get(key)
        if before is None:
            found[key] = one
            continue
        found[key] = replace(
            before,
            at_us=min(before.at_us, one.at_us),
            until_us=max(before.until_us, one.until_us),
            number=before.number + one.number,
            kinds=tuple(sorted({*before.kinds, *one.kinds})),
            relied_on="; ".join(
                dict.fromkeys(
                    part for t in (before, one) for part in t.relied_on.split("; ") if part
                )
            ),
        )
    return tuple(sorted(found.values(), key=lambda line: -line.until_us))


def cells(line: Line) -> tuple[str, ...]:
    """A line as texts, in the order of `COLUMNS`."""
    return (
        _moment(line.at_us),
        _moment(line.until_us) if line.until_us != line.at_us else "",
        str(line.number),
        line.recipient,
        line.address,
        line.person,
        line.purpose,
        "; ".join(line.kinds),
        line.relied_on,
        "yes" if line.is_emergency else "no",
    )


def as_csv(account: Account) -> bytes:
    """The lines as CSV (RFC 4180) in UTF-8; no cell can be a formula of a spreadsheet."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    writer.writerows([_inert(cell) for cell in cells(line)] for line in account.lines)
    return out.getvalue().encode()


def as_html(account: Account) -> str:
    """The accounting as one page: title, language, a table with headings."""
    form = account.form
    since = _moment(account.since_us) if account.since_us else "the first event kept"
    law = f"<p>{escape(form.law)}</p>" if form.law else ""
    shown = _used(account.lines)
    head = "".join(f'<th scope="col">{escape(COLUMNS[n])}</th>' for n in shown)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cells(line)[n])}</td>" for n in shown) + "</tr>"
        for line in account.lines
    )
    none = "" if account.lines else "<p>There were no disclosures to list.</p>"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(form.title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(form.title)}</h1>{law}"
        f"<p>Record: Patient/{escape(account.person_id)}. From {escape(since)} to "
        f"{escape(_moment(account.until_us))} UTC. Made {escape(_moment(account.made_us))} UTC."
        f"</p>{none}{table if account.lines else ''}</body></html>"
    )


def _used(lines: Sequence[Line]) -> list[int]:
    """The columns that say something: of single disclosures there is no number and no last."""
    if any(line.number > 1 for line in lines):
        return [*range(len(COLUMNS))]
    return [n for n in range(len(COLUMNS)) if n not in (1, 2)]


def _inert(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _moment(at_us: int) -> str:
    return instant(at_us)[:19].replace("T", " ")
