"""Properties that draw the same wherever they run, for build servers."""

from hypothesis.internal.conjecture import providers


def repeat_draws() -> None:
    """Let what a derandomized property draws hang on its own words alone.

    Now and then the library draws a constant that it finds in the modules loaded so far. Which
    those are depends on what the same process ran before, and what they say on every change of
    the hub: a build would draw what none before it has drawn, and fail for what it did not change.
    """
    nothing = providers._local_constants
    assert len(nothing) == 0, "a property has drawn already"
    providers._get_local_constants = lambda: nothing
