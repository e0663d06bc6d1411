"""What a derandomized property draws is the same whatever else its process has loaded."""

import subprocess
import sys

from hypothesis import settings
from hypothesis.internal.conjecture import providers

from tests.support.tree import ROOT

DRAWING = """
import hashlib, sys
from hypothesis import given, settings, strategies as st
from tests.support.draws import repeat_draws
{loading}
repeat_draws()
drawn = hashlib.sha256()
@settings(max_examples=200, derandomize=True, database=None)
@given(st.lists(st.one_of(st.text(), st.integers(), st.floats(), st.binary())))
def draw(found):
    drawn.update(repr(found).encode())
draw()
sys.stdout.write(drawn.hexdigest())
"""


def drawn(loading: str) -> bytes:
    """A digest of what a property draws in a process that has loaded something else before."""
    script = DRAWING.format(loading=loading)
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, timeout=300
    ).stdout


def test_a_property_draws_the_same_whatever_is_loaded():
    assert drawn("") == drawn("import adapters.hl7v2.er7")


def test_these_very_tests_repeat_their_draws_where_they_are_derandomized():
    assert not settings().derandomize or len(providers._get_local_constants()) == 0
