"""`hie mpi review` and its kin, as functions over a running hub."""

import argparse
import json

import pytest

from hie.cli import _parser
from hie.commands import stewards
from hie.kernel.errors import HieError
from tests.support.running_hub import running_hub
from tests.support.staff_api import registration


def parsed(*words: str) -> argparse.Namespace:
    return _parser().parse_args(["mpi", *words])


async def test_a_steward_works_a_task_off_at_the_command_line(tmp_path, capsys):
    async with running_hub(tmp_path) as hub:

        async def hie(act: stewards.Act, *words: str) -> str:
            capsys.readouterr()
            asked = parsed(*words, "--by", "kim")
            assert await stewards.as_steward(hub.hub, act, asked) == 0
            return str(capsys.readouterr().out)

        await hub.send(registration("C1", "1"), registration("C2", "2"))
        (row,) = (await hie(stewards.review, "review")).splitlines()
        number, _, kind, state, *_, vetoes = row.split("\t")
        assert (kind, state, vetoes) == ("possible", "open", "same-authority")
        listed = json.loads(await hie(stewards.review, "review", "--json"))
        assert listed["id"] == number

        shown = await hie(stewards.show, "show", number)
        assert "QUINLAN" in shown
        assert "guard: One authority has given them two numbers." in shown
        assert "link            The record moves" in shown

        await hie(stewards.claim, "claim", number)
        preview = await hie(stewards.decide, "decide", number, "link", "--preview")
        assert preview.startswith("would do: relink, 2 persons, 1 records")
        assert " before           " in preview
        assert preview.count("QUINLAN") == 3  # each person before, one of them after
        assert "no records left: the id redirects" in preview
        with pytest.raises(HieError, match="--reason"):
            await hie(stewards.decide, "decide", number, "link")
        done = await hie(stewards.decide, "decide", number, "link", "--reason", "seen")
        decision = done.split()[1].rstrip(":")
        assert (await hie(stewards.review, "review")) == ""
        (held,) = (await hie(stewards.history, "history")).splitlines()
        assert held.split("\t")[0] == decision
        assert held.endswith("\tholds")
        assert "duplicate rate\t0.0000%" in await hie(stewards.metrics, "metrics")
        assert await hie(stewards.corrections, "corrections") == ""
        with pytest.raises(HieError, match="closed"):
            await hie(stewards.decide, "decide", number, "reject", "--reason", "late")
    events = [json.loads(line) async for line in hub.hub.audit.export()]
    looked = [event for event in events if '"kim"' in json.dumps(event)]
    assert {"read", "link"} <= {event["subtype"][0]["code"] for event in looked}


@pytest.mark.parametrize("number", ["0", "-2", "many"])
def test_a_limit_is_a_whole_number_above_nothing(number, capsys):
    with pytest.raises(SystemExit):
        parsed("review", "--limit", number)
    assert "argument --limit: expected a whole number above 0" in capsys.readouterr().err
