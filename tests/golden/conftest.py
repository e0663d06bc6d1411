"""`pytest tests/golden --golden-update` writes the expected files anew; the diff is reviewed."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the option where this folder is named on the command line."""
    parser.addoption("--golden-update", action="store_true", help="write the expected files anew")


@pytest.fixture
def is_golden_update(request: pytest.FixtureRequest) -> bool:
    """Whether expected files are written instead of compared."""
    return bool(request.config.getoption("--golden-update", default=False))
