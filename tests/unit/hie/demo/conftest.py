"""The demo's world, built once for all its tests."""

from pathlib import Path

import pytest

from hie.demo.scene import Scene, set_scene


@pytest.fixture(scope="session")
def config() -> Path:
    return Path(__file__).resolve().parents[4] / "config"


@pytest.fixture(scope="session")
def scene(config) -> Scene:
    return set_scene(config)
