"""The file of signed tree heads."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hie.audit.chain import ChainState, sign
from hie.audit.heads import HeadsFile

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def signed_heads(count):
    state = ChainState()
    for n in range(count):
        state, _ = state.append([bytes([n]) * 32])
        yield sign(state.head(n), KEY)


def test_heads_come_back_as_written_and_in_order(tmp_path):
    file = HeadsFile(tmp_path / "audit" / "heads.jsonl")
    first, second, third = signed_heads(3)
    file.append([first, second], KEY.public_key())
    file.append([third], KEY.public_key())
    assert file.read() == ([first, second, third], 0)
    assert all(head.is_genuine(KEY.public_key()) for head in file.read()[0])


def test_a_file_that_is_not_there_holds_no_heads(tmp_path):
    assert HeadsFile(tmp_path / "heads.jsonl").read() == ([], 0)


def test_the_file_is_for_its_owner_only(tmp_path):
    file = HeadsFile(tmp_path / "heads.jsonl")
    file.append(signed_heads(1), KEY.public_key())
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_line_cut_short_by_a_crash_is_passed_over_and_does_not_spoil_the_next(tmp_path):
    file = HeadsFile(tmp_path / "heads.jsonl")
    first, second = signed_heads(2)
    file.append([first], KEY.public_key())
    with file.path.open("ab") as raw:
        raw.write(b'{"size": 2, "at')
    assert file.read() == ([first], 0)
    file.append([second], KEY.public_key())
    assert file.read() == ([first, second], 1)


def test_lines_that_are_no_heads_are_counted(tmp_path):
    file = HeadsFile(tmp_path / "heads.jsonl")
    file.path.write_bytes(b'{"size": "x"}\n[]\n\xff\n\n')
    assert file.read() == ([], 3)
