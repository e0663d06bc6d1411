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
from hie.kernel.clock import SECOND_US

GENESIS = bytes(32)
#: How much earlier than one before it a row may be recorded: a long job commits what it began
#: with long after. Heads are signed by one process, one after the other.
ROW_SLACK_US = 3600 * SECOND_US
HEAD_SLACK_US = 60 * SECOND_US
_HEAD_LABEL = b"hie audit tree head 1\n"
#: What comes of a value that the hub never writes: a text among numbers, a number out of bounds.
#: A database takes it from whoever tampers, and the verifier is to name it, not to fall over it.
NOT_OURS = (AttributeError, TypeError, ValueError, struct.error)


class TamperKind(StrEnum):
    """What is wrong with the trail at the first place where it is wrong."""

    EDITED = "edited"  # a row is not what was chained
    DELETED = "deleted"  # a row is missing, later ones are there
    REORDERED = "reordered"  # a whole row stands in another's place
    TRUNCATED = "truncated"  # a signed head knows more rows than there are
    FORK = "fork"  # two histories went on side by side, or rows that no head covers
    RECHAINED = "re-chained"  # the links hold, but a signed head knows another history
    FORGED_HEAD = "forged-head"  # a head that the audit key did not sign, or none at all
    CLOCK_BACKWARDS = "clock-backwards"  # recorded or signed before what it follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Tamper:
    """The first fault found: 0-based sequence number, and what it looks like.

    A fork and a chain made anew are known only between two heads; `seq` is then the first row
    after the last head that agrees.
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
        except (InvalidSignature, *NOT_OURS):
            return False
        return True


def sign(head: TreeHead, key: Ed25519PrivateKey) -> SignedHead:
    """The head, signed."""
    return SignedHead(head=head, signature=key.sign(head.message()))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """An audit row as it lies in the database, the chain's columns apart.

    Attributes:
        subtype: None in rows of the first form, which keep it sealed.
        agent: keyed hash of who sat at the screen; None for nobody, and in the first form.
        question_key, question: what was asked in words, and what it is sealed under.
    """

    pk: int
    recorded_us: int
    person_id: str | None
    organization: str | None
    action: str
    outcome: str
    key_id: int
    sealed: bytes
    subtype: str | None = None
    agent: int | None = None
    question_key: int | None = None
    question: bytes | None = None


def row_hash(row: StoredRow) -> bytes:
    """SHA-256 over every column of the row, each with its length; null differs from empty.

    A row of the first form, without subtype and agent, hashes as it did when it was chained; so
    does one without a question.
    """
    digest = hashlib.sha256(struct.pack(">QqQ", row.pk, row.recorded_us, row.key_id))
    texts = (row.person_id, row.organization, row.action, row.outcome)
    values = [*(None if t is None else t.encode() for t in texts), row.sealed]
    has_question = row.question is not None or row.question_key is not None
    if row.subtype is not None or row.agent is not None or has_question:
        values.append(None if row.subtype is None else row.subtype.encode())
        values.append(None if row.agent is None else struct.pack(">q", row.agent))
    if has_question:
        values.append(None if row.question_key is None else struct.pack(">q", row.question_key))
        values.append(row.question)
    for value in values:
        digest.update(b"\xff" * 8 if value is None else struct.pack(">Q", len(value)) + value)
    return digest.digest()


def hash_found(row: StoredRow) -> bytes:
    """The same of a row that was found: with a value the hub never writes, another's than all."""
    try:
        return row_hash(row)
    except NOT_OURS:
        return hashlib.sha256(b"not ours" + repr(row).encode(errors="replace")).digest()


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
        size = self.size
        return isinstance(size, int) and len(self.frontier.peaks) == size.bit_count()

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
        recorded_us: when it was recorded.
    """

    seq: int
    actual: bytes
    stored: bytes
    chain_hash: bytes | None
    recorded_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """The heads a trail is held against, by size.

    Attributes:
        by_size: every head that claims to describe the trail at that size.
        exported: those that were found outside the database.
        largest: how many rows the trail must have.
    """

    by_size: Mapping[int, Sequence[TreeHead]]
    exported: frozenset[TreeHead]
    largest: int

    @classmethod
    def of(cls, heads: Iterable[TreeHead], exported: Iterable[TreeHead] = ()) -> "Heads":
        """The heads, sorted into sizes."""
        outside = frozenset(exported)
        by_size: dict[int, list[TreeHead]] = {}
        for head in (*heads, *outside):
            by_size.setdefault(head.size, []).append(head)
        return cls(by_size=by_size, exported=outside, largest=max(by_size, default=0))

    def clock_fault(self) -> Tamper | None:
        """The first head that was signed before one of fewer rows."""
        latest_us, last = 0, 0
        for size in sorted(self.by_size):
            first_us = min(head.at_us for head in self.by_size[size])
            if first_us < latest_us - HEAD_SLACK_US:
                return Tamper(seq=last, kind=TamperKind.CLOCK_BACKWARDS)
            latest_us, last = max(latest_us, first_us), size
        return None


class Checker:
    """Follows a trail from its first row; faults of a row end it, of a head or clock do not.

    Feed it rows in order of sequence number; after a fault, or at the end, ask `finish`.

    Args:
        heads: what the trail is held against.
        clock_from: rows before this number are not asked when they were recorded.
    """

    def __init__(self, heads: Heads, clock_from: int = 0) -> None:
        self._heads = heads
        self._clock_from = clock_from
        self._agreed = 0
        self._disputed: int | None = None
        self._went_on = False
        self._latest_us = 0
        self.state = ChainState()
        self.broken: ChainedRow | None = None
        self.clock: Tamper | None = None

    def take(self, row: ChainedRow) -> Tamper | None:
        """The fault at this row, if any; a broken link is left for `classify`."""
        expected = self.state.size
        if row.seq > expected:
            return Tamper(seq=expected, kind=TamperKind.DELETED)
        if row.seq < expected:
            return Tamper(seq=row.seq, kind=TamperKind.FORK)
        if row.actual != row.stored or not isinstance(row.recorded_us, int):
            return Tamper(seq=row.seq, kind=TamperKind.EDITED)
        following, (chain_hash,) = self.state.append((row.stored,))
        if chain_hash != row.chain_hash:
            self.broken = row
            return Tamper(seq=row.seq, kind=TamperKind.EDITED)
        self.state = following
        self._look_at_clock(row)
        self._compare()
        return None

    @property
    def dispute(self) -> Tamper | None:
        """The fault that a signed head disagrees with rows whose links hold.

        A fork, where the hub itself went on signing this history elsewhere; else the history
        was chained anew, with or without the key.
        """
        if self._disputed is None:
            return None
        kind = TamperKind.FORK if self._went_on else TamperKind.RECHAINED
        return Tamper(seq=self._disputed, kind=kind)

    def finish(self) -> Tamper | None:
        """The fault that only the end shows: a dispute, or rows that a head knows are gone."""
        if self.dispute:
            return self.dispute
        if self.state.size < self._heads.largest:
            return Tamper(seq=self.state.size, kind=TamperKind.TRUNCATED)
        return None

    def _look_at_clock(self, row: ChainedRow) -> None:
        is_early = row.recorded_us < self._latest_us - ROW_SLACK_US
        if self.clock is None and is_early and row.seq >= self._clock_from:
            self.clock = Tamper(seq=row.seq, kind=TamperKind.CLOCK_BACKWARDS)
        self._latest_us = max(self._latest_us, row.recorded_us)

    def _compare(self) -> None:
        heads = self._heads.by_size.get(self.state.size, ())
        if not heads:
            return
        agreeing = [head for head in heads if self.state.head(head.at_us) == head]
        if len(agreeing) < len(heads) and self._disputed is None:
            self._disputed = self._agreed
        if self._disputed is None:
            self._agreed = self.state.size
        elif not self._heads.exported.isdisjoint(agreeing):
            self._went_on = True


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
