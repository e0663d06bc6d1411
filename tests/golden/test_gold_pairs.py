"""The pairs that models are judged by are those that their seeds draw."""

from tests.support import gold


def test_the_pairs_of_known_truth_are_drawn_from_their_seeds(is_golden_update):
    if is_golden_update:
        gold.FILE.write_text(gold.text(), encoding="utf-8")
    assert gold.FILE.read_text(encoding="utf-8") == gold.text()
