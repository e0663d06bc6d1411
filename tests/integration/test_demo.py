"""A small synthetic state goes through the real hub, which must meet the demo's expectations."""

import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from hie.app import Hub
from hie.demo.handle import DemoHandle
from hie.demo.run import prepare_tls, run_demo
from hie.settings import Settings, Tls, load_settings
from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "single": 4,
    "couple": 2,
    "family": 1,
    "single_parent": 1,
    "twins": 1,
    "father_son": 1,
    "newborn": 1,
    "moved": 1,
    "married": 1,
    "mistyped": 1,
    "nickname": 1,
    "swapped_date": 1,
    "placeholder": 1,
    "duplicate": 1,
    "recall": 0.8,  # in a state this small one newborn is a tenth of all pairs
}


@pytest.fixture
def settings(tmp_path) -> Settings:
    config = shutil.copytree(ROOT / "config", tmp_path / "config")
    plan = config / "demo" / "world.toml"
    text = plan.read_text(encoding="utf-8")
    for name, value in SMALL.items():
        text, changed = re.subn(rf"^{name} = [\d.]+$", f"{name} = {value}", text, flags=re.M)
        assert changed == 1, name
    plan.write_text(text, encoding="utf-8")
    home = tmp_path / "home"
    http, mllp, mllps = free_port(), free_port(), free_port()
    loaded = load_settings(
        {
            "HIE_CONFIG": str(config),
            "HIE_HOME": str(home),
            "HIE_HTTP_PORT": str(http),
            "HIE_MLLP_PORT": str(mllp),
            "HIE_MLLPS_PORT": str(mllps),
        }
    )
    made = prepare_tls(home, config)
    tls = Tls(
        certificate=made.server.certificate,
        private_key=made.server.private_key,
        client_authorities=made.authority,
    )
    return dataclasses.replace(loaded, tls=tls)


async def test_a_small_state_meets_every_expectation_and_again_after_a_restart(settings, capsys):
    for start in ("first", "second"):
        async with Hub(settings) as hub:
            await hub.start()
            assert await run_demo(DemoHandle(hub), once=True) == 0, f"{start} start"
        page = capsys.readouterr().out
        assert "FAILED" not in page
        assert "No two humans are held as one." in page
