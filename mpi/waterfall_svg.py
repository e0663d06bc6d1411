"""The waterfall of one pair as an SVG: for a page, a print, a report.

Nothing is said by colour alone: every bar has its sign and its bits beside it, and what speaks
against is hatched. No font, style sheet or script is fetched.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from mpi.waterfall import Bar, Waterfall
from mpi.words import Words

_ROW = 26
_LABEL_WIDTH = 170
_WORDS_WIDTH = 370
_CHART_WIDTH = 380
_BITS_WIDTH = 90
_TOP = 64
_WIDTH = _LABEL_WIDTH + _WORDS_WIDTH + _CHART_WIDTH + _BITS_WIDTH + 40
_CHART_LEFT = 20 + _LABEL_WIDTH + _WORDS_WIDTH
_FOR, _AGAINST = "#1b5e8a", "#8a3b1b"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """Bits to places on the page."""

    low: float
    high: float

    def x(self, bits: float) -> float:
        share = (bits - self.low) / (self.high - self.low)
        return round(_CHART_LEFT + share * _CHART_WIDTH, 1)


def as_svg(fall: Waterfall, words: Words) -> str:
    """The drawing, a whole SVG document."""
    scale = _scale(fall)
    bottom = _TOP + _ROW * len(fall.bars)
    notes = list(_notes(fall, words))
    height = bottom + 40 + 20 * len(notes)
    title = f"Evidence about one pair: {fall.bits:.2f} bits"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
            f'width="{_WIDTH}" height="{height}" role="img" aria-labelledby="title desc" '
            'font-family="sans-serif" font-size="13" fill="#111">',
            f'<title id="title">{escape(title)}</title>',
            f'<desc id="desc">{escape(_description(fall, words))}</desc>',
            "<defs><pattern id='against' width='6' height='6' patternUnits='userSpaceOnUse' "
            "patternTransform='rotate(45)'><rect width='6' height='6' fill='#fff'/>"
            f"<rect width='3' height='6' fill='{_AGAINST}'/></pattern></defs>",
            f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
            _text(20, 26, title, size=17),
            *_marks(fall, scale, bottom, words),
            *(line for n, bar in enumerate(fall.bars) for line in _row(n, bar, scale)),
            *(_text(20, bottom + 32 + 20 * n, note) for n, note in enumerate(notes)),
            "</svg>",
            "",
        ]
    )


def _scale(fall: Waterfall) -> _Scale:
    values = [0.0, *(bar.total for bar in fall.bars), *fall.marks.values()]
    return _Scale(low=min(values) - 1, high=max(values) + 1)


def _row(number: int, bar: Bar, scale: _Scale) -> Iterator[str]:
    top = _TOP + _ROW * number
    start = bar.total if bar.code == "prior" else bar.total - bar.bits
    left, right = sorted((scale.x(0.0 if bar.code == "prior" else start), scale.x(bar.total)))
    fill = _FOR if bar.bits >= 0 else "url(#against)"
    edge = _FOR if bar.bits >= 0 else _AGAINST
    if number % 2 == 0:
        yield f'<rect x="10" y="{top}" width="{_WIDTH - 20}" height="{_ROW}" fill="#f3f3f3"/>'
    yield _text(20, top + 17, bar.label)
    yield _text(20 + _LABEL_WIDTH, top + 17, bar.words, size=12)
    yield (
        f'<rect x="{left}" y="{top + 5}" width="{max(1.0, round(right - left, 1))}" '
        f'height="{_ROW - 10}" fill="{fill}" stroke="{edge}"/>'
    )
    yield _text(_WIDTH - 20, top + 17, f"{bar.bits:+.2f}", anchor="end")


def _marks(fall: Waterfall, scale: _Scale, bottom: int, words: Words) -> Iterator[str]:
    """Zero and the thresholds, as lines down the chart with their names on three levels."""
    marks = [("0", 0.0), *((words.marks.get(k, k), v) for k, v in fall.marks.items())]
    for number, (name, bits) in enumerate(sorted(marks, key=lambda mark: mark[1])):
        x = scale.x(bits)
        dash = "" if name == "0" else ' stroke-dasharray="4 3"'
        yield f'<line x1="{x}" y1="{_TOP - 6}" x2="{x}" y2="{bottom}" stroke="#555"{dash}/>'
        yield _text(x, _TOP - 10 - 12 * (number % 3), name, size=11, anchor="middle")


def _notes(fall: Waterfall, words: Words) -> Iterator[str]:
    said = f"Grade {words.grades.get(fall.grade, fall.grade)}; " if fall.grade else ""
    why = fall.reason if fall.reason in fall.vetoes else fall.reason_words
    yield f"{said}decision: {fall.outcome_words}; {why}"
    yield from (f"Guard, {veto}: {sentence}" for veto, sentence in fall.vetoes.items())
    if fall.missing:
        yield f"Not compared, missing in one of the two: {', '.join(fall.missing)}."
    yield f"Model {fall.model}. Bits are log2 odds that the two records are one person."


def _description(fall: Waterfall, words: Words) -> str:
    bars = "; ".join(f"{b.label}: {b.words}, {b.bits:+.2f} bits" for b in fall.bars)
    return f"{bars}. Sum {fall.bits:.2f} bits. {' '.join(_notes(fall, words))}"


def _text(x: float, y: float, text: str, *, size: int = 13, anchor: str = "start") -> str:
    said = escape(text)
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}">{said}</text>'
