"""Pages about the maps: what each message becomes, and how that compares with the guide."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from adapters.hl7v2.mapmodel import Maps, MessageMap, ResourceRule, Row, SegmentMap
from adapters.hl7v2.maps import load_maps
from docs.guide.claims import claims_of
from docs.guide.judge import message_rows, reference_rows, segment_rows, totals
from docs.guide.probe import Prober
from docs.guide.rows import Fate, Stated
from docs.guide.vocabulary import code_rows

NOTE = "_Written by `make docs`; change `{}` instead of this page._\n"
KINDS = ("segments", "data types", "messages", "references", "vocabulary")


def maps_page(folder: Path) -> str:
    """Message by message: segments, resources, and the rules of each field."""
    maps = load_maps(folder)
    parts = ["# What HL7 v2 messages become\n", NOTE.format("config/hl7v2/")]
    parts.append(
        "Each message lists the resources it makes, each resource the segment maps it is made of, "
        "each segment map its fields. The keys of the tables are explained in "
        "[Add a segment map row](../howto/segment-map.md).\n"
    )
    parts.append("## Messages\n")
    parts += [_message(message) for message in maps.messages]
    parts.append("## Resources\n")
    parts += [_rule(rule) for rule in _rules(maps)]
    parts.append("## Segments\n")
    parts += [_segment(maps.segments[name]) for name in sorted(maps.segments)]
    return "\n".join(parts)


def _message(message: MessageMap) -> str:
    triggers = ", ".join(f"`{trigger}`" for trigger in message.triggers)
    rows = []
    for rule in message.resources:
        segments = dict.fromkeys(part.split("[")[0] for part in rule.parts)
        rows.append((f"`{rule.name}`", rule.type, rule.group or "message", ", ".join(segments)))
    head = f"### {message.name}\n\n{triggers}\n"
    return f"{head}\n{table(('rule', 'resource', 'one for each', 'segments'), rows)}"


def _rules(maps: Maps) -> list[ResourceRule]:
    """Every rule some message uses, once, by type and name."""
    found = {
        (r.type, r.name, r.parts, r.keys, r.mode): r for m in maps.messages for r in m.resources
    }
    return [found[key] for key in sorted(found, key=str)]


def _rule(rule: ResourceRule) -> str:
    mode = {"upsert": "", "patch": "; overlays what is stored"}.get(
        rule.mode.value, f"; {rule.mode.value}"
    )
    lines = [f"### {rule.type}: `{rule.name}`\n", f"- made of: {_codes(rule.parts)}{mode}"]
    if rule.when:
        lines.append(f"- when: `{rule.when}`")
    if rule.keys:
        lines.append("- known by: " + " or ".join(f"`{' + '.join(key)}`" for key in rule.keys))
    if rule.refs:
        refs = [f"`{path}` to `{to}`" for path, to in rule.refs.items()]
        lines.append("- refers: " + ", ".join(refs))
    return "\n".join(lines) + "\n"


def _segment(segment_map: SegmentMap) -> str:
    head = [f"### {segment_map.name}\n"]
    if segment_map.into:
        head.append(f"Each segment makes an entry of `{segment_map.into}`.\n")
    if segment_map.when:
        head.append(f"When `{segment_map.when}`.\n")
    if segment_map.ignored:
        numbers = ", ".join(f"{segment_map.segment}-{n}" for n in sorted(segment_map.ignored))
        head.append(f"Says nothing a resource could hold: {numbers}.\n")
    rows = [_row(segment_map, row) for row in segment_map.rows]
    header = ("field", "element", "converter", "code map", "when")
    return "\n".join([*head, table(header, rows)])


def _row(segment_map: SegmentMap, row: Row) -> tuple[str, ...]:
    place = "constant" if row.value is not None else "default" if row.default is not None else ""
    if row.place is not None:
        component = f".{row.place.component}" if row.place.component else ""
        place = f"{row.place.segment or segment_map.segment}-{row.place.field}{component}"
    element = f"{segment_map.into}.{row.to}" if segment_map.into else row.to
    return (
        place or "source",
        f"`{element}`{_url(row.shape)}",
        f"`{row.convert}`" if row.convert else "",
        f"`{row.concept}`" if row.concept else "",
        f"`{row.when}`" if row.when else "",
    )


def _url(shape: Any) -> str:
    """The name of the extension a row writes."""
    url = shape.get("url", "") if isinstance(shape, dict) else ""
    return f" ({url.rsplit('/', 1)[-1].rsplit(':', 1)[-1]})" if url else ""


def coverage_page(folder: Path) -> str:
    """How our maps stand to the rows of the published guide."""
    maps, stated = load_maps(folder), Stated.read()
    claims = claims_of(maps)
    judged = (
        segment_rows(claims, stated),
        Prober(maps).judge(stated),
        message_rows(claims, stated),
        reference_rows(claims, stated),
    )
    codes = code_rows(maps.terminology, stated)
    counts = [totals(one.fate for one in rows) for rows in (*judged, codes)]
    lines = [
        (kind, *(str(count[fate]) for fate in Fate), str(sum(count.values())))
        for kind, count in zip(KINDS, counts, strict=True)
    ]
    parts = ["# Coverage of the v2-to-FHIR guide\n", NOTE.format("docs/guide/stated.toml")]
    parts.append(
        "The rows of the HL7 v2-to-FHIR guide 1.0.0 that have a FHIR target, and what became of "
        "each. *Mapped*: computed from the tables (data types by running the converters). *Put "
        "right*: done otherwise, *left out*: not done, both with the reason. "
        "[ADR 0022](../adr/0022-guide-coverage.md) says how it is counted.\n"
    )
    parts.append(table(("rows of", *(fate.value for fate in Fate), "all"), lines))
    for kind, rows in zip(KINDS, judged, strict=False):
        parts.append(f"## {kind.capitalize()}\n")
        parts.append(_by_map((one.row.map, one.fate) for one in rows))
        parts.append(_reasons((r.row.map, r.row.text, r.fate, r.where) for r in rows))
    parts.append("## Vocabulary\n")
    parts.append(_by_map((one.map, one.fate) for one in codes))
    parts.append(_reasons((c.map, c.code, c.fate, c.where) for c in codes))
    return "\n".join(parts)


def _by_map(rows: Iterable[tuple[str, Fate]]) -> str:
    counts: dict[str, dict[Fate, int]] = defaultdict(lambda: dict.fromkeys(Fate, 0))
    for name, fate in rows:
        counts[name][fate] += 1
    fates = (Fate.MAPPED, Fate.ELSEWHERE, Fate.PUT_RIGHT, Fate.LEFT_OUT)
    lines = [(name, *(str(c[fate] or "") for fate in fates)) for name, c in sorted(counts.items())]
    return table(("map", *(fate.value for fate in fates)), lines)


def _reasons(rows: Iterable[tuple[str, str, Fate, str]]) -> str:
    """The rows that are not simply mapped, gathered by map and reason."""
    found: dict[tuple[str, Fate, str], list[str]] = defaultdict(list)
    for name, text, fate, where in rows:
        if fate is not Fate.MAPPED:
            found[name, fate, where].append(text)
    lines = [
        (name, _few(texts), fate.value, where.replace("|", "\\|"))
        for (name, fate, where), texts in sorted(found.items(), key=lambda item: item[0][0])
    ]
    return table(("map", "rows", "fate", "where or why"), lines)


def _few(texts: Sequence[str], most: int = 12) -> str:
    # Not a link, though it looks like one: `actor[1](Patient)`.
    shown = [f"`{text}`".replace("](", "] (") for text in dict.fromkeys(texts)]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(cell for cell in line)} |" for line in lines) + "\n"
