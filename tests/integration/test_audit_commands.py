"""`hie audit` over a data folder: verify, prove, export, account.

Spec: RFC 9162 section 2.1.3
"""

import asyncio
import base64
import contextlib
import json
import sqlite3

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hie.audit.chain import SignedHead, TreeHead
from hie.audit.event import AuditRecord
from hie.audit.merkle import is_consistent, leaf_hash, root_by_inclusion
from hie.cli import main
from hie.services import Services
from hie.settings import load_settings
from tests.support.made_once import config_of, with_tables


@pytest.fixture(name="home")
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("HIE_HOME", str(tmp_path))
    asyncio.run(filled(tmp_path))
    return tmp_path


async def filled(home):
    """Five events of nobody, under two signed heads."""
    await with_tables(home / "hub.db")
    settings = load_settings({"HIE_HOME": str(home)})
    async with Services(settings, config=config_of(settings)) as hub:
        for count in (2, 3):
            now_us = hub.clock.now_us()
            record = AuditRecord(recorded_us=now_us, action="R", subtype="read", user="kim")
            async with hub.db.transaction() as conn:
                await hub.audit.append(conn, [record] * count)
            await hub.sequencer.close(now_us)


def printed(capsys, *arguments):
    """Exit code, and what the command said."""
    code = main(["audit", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_a_proof_is_checked_with_the_signed_head_and_the_row_hash_alone(home, capsys):
    _, lines, _ = printed(capsys, "export")
    events = [json.loads(line) for line in lines.splitlines()]
    assert [e["subtype"][0]["code"] for e in events] == ["read"] * 5 + ["disclose"]
    code, told, _ = printed(capsys, "prove", events[3]["id"], "--from", "2")
    assert code == 0
    proof = json.loads(told)
    head = json.loads(proof["head"])
    root, older = bytes.fromhex(head["root"]), older_root(home)
    path = [bytes.fromhex(step) for step in proof["inclusion"]]
    leaf = leaf_hash(bytes.fromhex(proof["row_hash"]))
    assert (proof["seq"], head["size"]) == (3, 5)
    assert root_by_inclusion(leaf, 3, 5, path) == root
    grown = [bytes.fromhex(step) for step in proof["consistency"]]
    assert is_consistent(2, older, 5, root, grown)
    signed = SignedHead(
        head=TreeHead(
            size=head["size"],
            at_us=head["at_us"],
            root=root,
            chain_hash=bytes.fromhex(head["chain"]),
        ),
        signature=base64.b64decode(head["signature"]),
    )
    assert signed.is_genuine(Ed25519PublicKey.from_public_bytes(base64.b64decode(head["key"])))


def older_root(home):
    first = (home / "audit" / "heads.jsonl").read_text().splitlines()[0]
    return bytes.fromhex(json.loads(first)["root"])


def test_a_file_that_cannot_be_used_is_named_before_anything_is_opened(tmp_path, capsys):
    out = str(tmp_path / "a.txt")
    code, _, told = printed(capsys, "accounting", "--person", "p", "--out", out)
    assert (code, ".pdf or .csv" in told) == (2, True)
    assert printed(capsys, "verify", "--heads", str(tmp_path / "absent"))[0] == 2
    (tmp_path / "none.log").write_text("<13>1 - nothing of the hub's\n")
    code, _, told = printed(capsys, "verify", "--heads", str(tmp_path / "none.log"))
    assert (code, "with a signed head in it" in told) == (2, True), "not a fault, nor whole"


def test_an_accounting_of_no_time_at_all_is_refused(home, tmp_path, capsys):
    whose = ("--person", "p", "--since", "2026-02-01", "--until", "2026-01-01")
    code, _, told = printed(capsys, "accounting", *whose, "--out", str(tmp_path / "a.csv"))
    assert (code, "begins before it ends" in told) == (2, True)


def test_heads_that_only_the_file_has_are_remarked_upon(home, capsys):
    _, told, _ = printed(capsys, "verify")
    assert "REMARK" not in told
    with contextlib.closing(sqlite3.connect(home / "hub.db")) as database, database:
        database.execute("DELETE FROM audit_head")
    code, told, _ = printed(capsys, "verify")
    assert code == 0
    assert told.splitlines()[1:] == [
        "REMARK: the database lacks 2 signed heads that a file has",
        "the audit trail is whole",
    ]


def test_a_copy_of_the_heads_finds_what_the_folder_alone_does_not(home, capsys):
    heads = home / "audit" / "heads.jsonl"
    copy = home / "elsewhere.log"
    lines = [line.replace('"size": 2', '"size": 3') for line in heads.read_text().splitlines()]
    copy.write_text("".join(f"<109>1 - {line}\n" for line in lines))
    code, told, _ = printed(capsys, "verify", "--heads", str(copy))
    assert (code, "FAULT at row 2: forged-head" in told) == (1, True)
