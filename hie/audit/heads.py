"""Signed tree heads in a file outside the database, one JSON object a line, only appended.

Whoever can write to the database cannot shorten or rewrite the trail unseen while this file,
or a copy of it sent elsewhere, is out of reach.
"""

import base64
import json
import os
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hie.audit.chain import SignedHead, TreeHead


class HeadsFile:
    """`heads.jsonl`: what the trail was, in the words of the hub at that time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[list[SignedHead], int]:
        """The heads in the order written, and how many lines are none.

        A last line without its end is a write that a crash cut short; it counts as neither.
        Of a line of a syslog, what stands before the JSON object is passed over.
        """
        if not self.path.exists():
            return [], 0
        *lines, _ = self.path.read_bytes().split(b"\n")
        heads = [_parse(line) for line in lines if line]
        read = [head for head in heads if head is not None]
        return read, len(heads) - len(read)

    def append(self, heads: Iterable[SignedHead], key: Ed25519PublicKey) -> None:
        """Write heads, durably; each line names the public key that checks it."""
        public = base64.b64encode(key.public_bytes_raw()).decode()
        content = b"".join(_line(signed, public) for signed in heads)
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        with os.fdopen(handle, "r+b") as file:
            if _is_cut_short(file.fileno()):
                content = b"\n" + content
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


def _is_cut_short(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"


def written(signed: SignedHead, key: Ed25519PublicKey) -> str:
    """A head as one JSON object, with the public key that checks it."""
    public = base64.b64encode(key.public_bytes_raw()).decode()
    return _line(signed, public).decode().rstrip()


def _line(signed: SignedHead, public: str) -> bytes:
    head = signed.head
    content = {
        "size": head.size,
        "at_us": head.at_us,
        "root": head.root.hex(),
        "chain": head.chain_hash.hex(),
        "signature": base64.b64encode(signed.signature).decode(),
        "key": public,
    }
    return json.dumps(content).encode() + b"\n"


def _parse(line: bytes) -> SignedHead | None:
    try:
        content = json.loads(line[max(line.find(b"{"), 0) :])
        head = TreeHead(
            size=int(content["size"]),
            at_us=int(content["at_us"]),
            root=bytes.fromhex(content["root"]),
            chain_hash=bytes.fromhex(content["chain"]),
        )
        return SignedHead(head=head, signature=base64.b64decode(content["signature"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
