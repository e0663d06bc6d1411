"""Figures of the index, and the model that decides: nobody's data."""

from typing import Any

from hie.flow.figures import OUTCOMES, Ages, Figures, Window
from hie.kernel.errors import Category, HieError
from hie.staff import render
from hie.staff.edge import Edge
from hie.staff.model import Answer, Call


async def metrics(edge: Edge, _: Call) -> Answer:
    """The index in figures, a minute old at most."""
    return Answer(content=of(await edge.figures.current()))


async def model(edge: Edge, _: Call) -> Answer:
    """Version, start and measurements of the model in use."""
    found = await edge.figures.model()
    if found is None:
        raise HieError(Category.NOT_FOUND, "no model is in use yet")
    return Answer(
        content={
            "version": found.version,
            "content_hash": found.content_hash,
            "active_from": render.moment(found.active_from_us),
            "trained_on": found.trained_on,
            "metrics": found.metrics,
        }
    )


def of(figures: Figures) -> dict[str, Any]:
    """The figures as JSON values."""
    doubts = figures.doubts
    return {
        "at": render.moment(figures.at_us),
        "duplicates": {
            "rate": round(figures.duplicate_rate, 6),
            "definition": "records in possible duplicate pairs / records (AHIMA)",
            "records": doubts.records,
            "persons": doubts.persons,
            "pairs": doubts.pairs,
            "records_in_pairs": doubts.doubted_records,
            "persons_in_pairs": doubts.doubted_persons,
        },
        "queue": {
            "open": sum(row.open for row in figures.queue),
            "claimed": sum(row.claimed for row in figures.queue),
            "overdue": sum(row.overdue for row in figures.queue),
            "deferred": sum(row.deferred for row in figures.queue),
            "age_seconds": {kind: _ages(ages) for kind, ages in sorted(figures.ages.items())},
        },
        "windows": [_window(window) for window in figures.windows],
        "full_keys": [
            {"kind": full.spec, "keys": full.keys, "refused_records": full.refused}
            for full in figures.full_keys
        ],
        "drift": [
            {
                "comparison": each.comparison,
                "links": each.links,
                "index": round(each.index, 4),
                "levels": [
                    {
                        "level": level.level,
                        "seen": round(level.seen, 4),
                        "expected": round(level.expected, 4),
                    }
                    for level in each.levels
                ],
            }
            for each in figures.drift
        ],
    }


def _ages(ages: Ages) -> dict[str, float]:
    return {
        "open": ages.number,
        "p50": round(ages.p50, 1),
        "p90": round(ages.p90, 1),
        "oldest": round(ages.oldest, 1),
    }


def _window(window: Window) -> dict[str, Any]:
    return {
        "days": window.days,
        "new_records": {
            **_rates(window, None),
            "by_source": {source: _rates(window, source) for source in sorted(window.outcomes)},
        },
        "decisions": dict(window.decided),
        "answered_tasks": window.answered,
        "answer_seconds": {
            "p50": round(window.answer_p50, 1),
            "p90": round(window.answer_p90, 1),
        },
        "undo_rate": round(window.undo_rate, 4),
    }


def _rates(window: Window, source: str | None) -> dict[str, Any]:
    counted = [c for s, c in window.outcomes.items() if source in (None, s)]
    return {
        "number": sum(sum(c.values()) for c in counted),
        **{f"{outcome}_rate": round(window.rate(outcome, source), 4) for outcome in OUTCOMES},
    }
