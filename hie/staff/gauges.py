"""The figures of the patient index for Prometheus: read from memory, counted by a job."""

from collections.abc import Callable, Mapping
from typing import Final

from hie.flow.figures import Figures, IdentityFigures, Window
from hie.web import Labels, Metrics

Read = Callable[[Figures], Mapping[Labels, float]]
_TABLE: Final[tuple[tuple[str, str, tuple[str, ...], Read], ...]] = (
    (
        "hie_mpi_duplicate_rate",
        "Records in possible duplicate pairs, of all records (AHIMA).",
        (),
        lambda f: {(): f.duplicate_rate},
    ),
    ("hie_mpi_records", "Records of a person.", (), lambda f: {(): f.doubts.records}),
    ("hie_mpi_persons", "Persons with records.", (), lambda f: {(): f.doubts.persons}),
    ("hie_mpi_duplicate_pairs", "Possible duplicate pairs.", (), lambda f: {(): f.doubts.pairs}),
    (
        "hie_mpi_queue_tasks",
        "Open tasks of stewards.",
        ("kind", "state"),
        lambda f: {
            (row.kind, state): number
            for row in f.queue
            for state, number in (("open", row.open - row.claimed), ("claimed", row.claimed))
        },
    ),
    (
        "hie_mpi_queue_overdue",
        "Open tasks not answered in time.",
        ("kind",),
        lambda f: {(row.kind,): row.overdue for row in f.queue},
    ),
    (
        "hie_mpi_queue_age_seconds",
        "Age of open tasks.",
        ("kind", "quantile"),
        lambda f: {
            (kind, quantile): seconds
            for kind, ages in f.ages.items()
            for quantile, seconds in (("0.5", ages.p50), ("0.9", ages.p90), ("1", ages.oldest))
        },
    ),
    (
        "hie_mpi_new_records",
        "New records of the last days, by what became of them.",
        ("source", "outcome", "days"),
        lambda f: {
            (source, outcome, str(window.days)): number
            for window in f.windows
            for source, outcomes in window.outcomes.items()
            for outcome, number in outcomes.items()
        },
    ),
    (
        "hie_mpi_decisions",
        "Decisions of stewards in the last days.",
        ("kind", "days"),
        lambda f: {
            (kind, str(window.days)): number
            for window in f.windows
            for kind, number in window.decided.items()
        },
    ),
    (
        "hie_mpi_undo_rate",
        "Decisions of stewards that were taken back, of those made.",
        ("days",),
        lambda f: _by_window(f, lambda window: window.undo_rate),
    ),
    (
        "hie_mpi_answer_seconds",
        "Median time from question to answer.",
        ("days",),
        lambda f: _by_window(f, lambda window: window.answer_p50),
    ),
    (
        "hie_mpi_full_keys",
        "Blocking keys that are full.",
        ("kind",),
        lambda f: {(full.spec,): full.keys for full in f.full_keys},
    ),
    (
        "hie_mpi_refused_records",
        "Records that found no room under a full key.",
        ("kind",),
        lambda f: {(full.spec,): full.refused for full in f.full_keys},
    ),
    (
        "hie_mpi_level_drift",
        "Levels of late links against the model, as population stability index.",
        ("comparison",),
        lambda f: {(each.comparison,): each.index for each in f.drift},
    ),
)


def register(metrics: Metrics, figures: IdentityFigures) -> None:
    """Add the families; each is empty until the figures were counted once."""
    for name, text, labels, read in _TABLE:
        metrics.family(name, text, labels, _last(figures, read))


def _last(figures: IdentityFigures, read: Read) -> Callable[[], Mapping[Labels, float]]:
    def read_last() -> Mapping[Labels, float]:
        return read(figures.last) if figures.last else {}

    return read_last


def _by_window(figures: Figures, read: Callable[[Window], float]) -> dict[Labels, float]:
    return {(str(window.days),): read(window) for window in figures.windows}
