"""The hash chain of the audit trail, its signed tree heads, and how tampering shows (pure).

h(n) = SHA-256(0x00 | h(n-1) | row_hash(n) | n), with h(-1) = 32 zero bytes. A tree head adds
the Merkle root over the row hashes and an Ed25519 signature: the chain says that rows follow
each other, the signed head that there were so many, and that these were they.
Spec: RFC 9162 section 2.1, RFC 8032.
"""

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hie.audit.merkle import Frontier, leaf_hash

GENESIS = bytes(32)
_HEAD_LABEL = b"hie audit tree head 1\n"


class TamperKind(StrEnum):
    """What is wrong with the trail at the first place where it is wrong."""

    EDITED = "edited"  # a row is not what was chained
    DELETED = "deleted"  # a row is missing, later ones are there
    REORDERED = "reordered"  # a whole row stands in another's place
    TRUNCATED = "truncated"  # a signed head knows more rows than there are
    FORK = "fork"  # two histories: rows or heads that cannot both be true
    FORGED_HEAD = "forged-head"  # a head that the audit key did not sign, or none at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Tamper:
    """The first fault found: 0-based sequence number, and what it looks like.

    A fork is known only between two heads; `seq` is then the first row after the last head
    that agrees.
    """

    seq: int
    kind: TamperKind


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead:
    """What the trail was at one time.

    Attributes:
        size: rows chained; they carry the sequence numbers 0 .. size - 1.
        root: Merkle root over the row hashes.
        chain_hash: h(size - 1).
    """

    size: int
    at_us: int
    root: bytes
    chain_hash: bytes

    def message(self) -> bytes:
        """The bytes that are signed."""
        return _HEAD_LABEL + struct.pack(">QQ", self.size, self.at_us) + self.root + self.chain_hash


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead:
    """A tree head and its Ed25519 signature."""

    head: TreeHead
    signature: bytes

    def is_genuine(self, key: Ed25519PublicKey) -> bool:
        """Whether the holder of the audit key signed this head."""
        try:
            key.verify(self.signature, self.head.message())
        except InvalidSignature:
            return False
        return True


def sign(head: TreeHead, key: Ed25519PrivateKey) -> SignedHead:
    """The head, signed."""
    return SignedHead(head=head, signature=key.sign(head.message()))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """An audit row as it lies in the database, the chain's columns apart."""

    pk: int
    recorded_us: int
    person_id: str | None
    organization: str | None
    action: str
    outcome: str
    key_id: int
    sealed: bytes


def row_hash(row: StoredRow) -> bytes:
    """SHA-256 over every column of the row, each with its length; null differs from empty."""
    digest = hashlib.sha256(struct.pack(">QqQ", row.pk, row.recorded_us, row.key_id))
    texts = (row.person_id, row.organization, row.action, row.outcome)
    for value in (*(None if t is None else t.encode() for t in texts), row.sealed):
        digest.update(b"\xff" * 8 if value is None else struct.pack(">Q", len(value)) + value)
    return digest.digest()


def link(previous: bytes, row: bytes, seq: int) -> bytes:
    """h(seq), from the hash before it and the row's own hash."""
    return hashlib.sha256(b"\x00" + previous + row + struct.pack(">Q", seq)).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainState:
    """The end of the chain: what the next row is linked to.

    Attributes:
        frontier: of the Merkle tree over the row hashes.
    """

    chain_hash: bytes = GENESIS
    frontier: Frontier = field(default_factory=Frontier)

    @property
    def size(self) -> int:
        """Rows chained; also the next row's sequence number."""
        return self.frontier.size

    @property
    def is_sound(self) -> bool:
        """Whether the frontier can be one of this size; other peaks may give the same root."""
        return len(self.frontier.peaks) == self.size.bit_count()

    def append(self, rows: Iterable[bytes]) -> tuple["ChainState", tuple[bytes, ...]]:
        """The state after these row hashes, and the chain hash of each."""
        hashes: list[bytes] = []
        leaves: list[bytes] = []
        last = self.chain_hash
        for seq, row in enumerate(rows, self.size):
            last = link(last, row, seq)
            hashes.append(last)
            leaves.append(leaf_hash(row))
        state = ChainState(chain_hash=last, frontier=self.frontier.extend(leaves))
        return state, tuple(hashes)

    def head(self, at_us: int) -> TreeHead:
        """The tree head of this state."""
        return TreeHead(
            size=self.size, at_us=at_us, root=self.frontier.root(), chain_hash=self.chain_hash
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedRow:
    """A row as the chain sees it.

    Attributes:
        actual: row hash computed from what is stored now.
        stored: row hash as stored; None where the sequencer never saw one.
    """

    seq: int
    actual: bytes
    stored: bytes
    chain_hash: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The heads a trail is held against, by size.

    Attributes:
        by_size: every head that claims to describe the trail at that size.
        largest: how many rows the trail must have.
    """

    by_size: Mapping[int, Sequence[TreeHead]]
    largest: int

    @classmethod
    def of(cls, heads: Iterable[TreeHead]) -> "Heads":
        """The heads, sorted into sizes."""
        by_size: dict[int, list[TreeHead]] = {}
        for head in heads:
            by_size.setdefault(head.size, []).append(head)
        return cls(by_size=by_size, largest=max(by_size, default=0))


class Checker:
    """Follows a trail from its first row and stops at the first fault.

    Feed it rows in order of sequence number; after a fault, or at the end, ask `finish`.
    """

    def __init__(self, heads: Heads) -> None:
        self._heads = heads
        self._agreed = 0
        self.state = ChainState()
        self.broken: ChainedRow | None = None

    def take(self, row: ChainedRow) -> Tamper | None:
        """The fault at this row, if any; a broken link is left for `classify`."""
        expected = self.state.size
        if row.seq > expected:
            return Tamper(seq=expected, kind=TamperKind.DELETED)
        if row.seq < expected:
            return Tamper(seq=row.seq, kind=TamperKind.FORK)
        if row.actual != row.stored:
            return Tamper(seq=row.seq, kind=TamperKind.EDITED)
        following, (chain_hash,) = self.state.append((row.stored,))
        if chain_hash != row.chain_hash:
            self.broken = row
            return Tamper(seq=row.seq, kind=TamperKind.EDITED)
        self.state = following
        return self._compare()

    def finish(self) -> Tamper | None:
        """The fault that only the end of the trail shows: rows that a head knows are gone."""
        if self.state.size < self._heads.largest:
            return Tamper(seq=self.state.size, kind=TamperKind.TRUNCATED)
        return None

    def _compare(self) -> Tamper | None:
        heads = self._heads.by_size.get(self.state.size, ())
        for head in heads:
            if self.state.head(head.at_us) != head:
                return Tamper(seq=self._agreed, kind=TamperKind.FORK)
        if heads:
            self._agreed = self.state.size
        return None


def classify(
    previous: bytes, broken: ChainedRow, rest: Iterable[ChainedRow], missing: int
) -> TamperKind:
    """What a broken link at an intact row looks like.

    Args:
        previous: the chain hash before the broken row.
        broken: the row whose chain hash does not follow.
        rest: the rows after it, in order.
        missing: how many rows fewer there are than the latest head says.
    """
    rows = iter(rest)
    ahead = list(islice(rows, 1))
    if missing > 0 and _is_shifted(broken, ahead, missing):
        return TamperKind.DELETED
    for row in (*ahead, *rows):
        # The row that belongs here stands further back, with its own chain hash or this one's.
        if link(previous, row.actual, broken.seq) in (broken.chain_hash, row.chain_hash):
            return TamperKind.REORDERED
    return TamperKind.EDITED


def _is_shifted(broken: ChainedRow, ahead: Sequence[ChainedRow], missing: int) -> bool:
    """Whether the rows from here on were renumbered to close a gap."""
    if not ahead:
        return True
    following = ahead[0]
    if broken.chain_hash is None:
        return False
    return link(broken.chain_hash, following.actual, following.seq + missing) == (
        following.chain_hash
    )
