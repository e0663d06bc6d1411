"""Proofs for others: that an event is in a signed tree, and that an older tree grew into it.

Whoever holds a signed head checks them with the event's row hash alone, without the trail.
Spec: RFC 9162 section 2.1.3, 2.1.4
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hie.audit import merkle
from hie.audit.chain import SignedHead
from hie.audit.chained import ChainTable
from hie.audit.heads import written
from hie.db import Database
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

_PAGE = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """An event's place in a signed tree.

    Attributes:
        row_hash: what the leaf is the hash of.
        path: from the leaf's sibling upwards.
        earlier: size of an older head, 0 = none; `grown`: that it is the beginning of this one.
    """

    seq: int
    row_hash: bytes
    signed: SignedHead
    path: tuple[bytes, ...]
    earlier: int = 0
    grown: tuple[bytes, ...] = ()

    def holds(self) -> bool:
        """Whether the path leads from the event to the signed root."""
        head = self.signed.head
        leaf = merkle.leaf_hash(self.row_hash)
        return merkle.root_by_inclusion(leaf, self.seq, head.size, self.path) == head.root

    def told(self, key: Ed25519PublicKey) -> FhirJson:
        """The proof as JSON, hashes in hexadecimal."""
        told = {
            "seq": self.seq,
            "row_hash": self.row_hash.hex(),
            "head": written(self.signed, key),
            "inclusion": [step.hex() for step in self.path],
        }
        if not self.earlier:
            return told
        return told | {"from": self.earlier, "consistency": [step.hex() for step in self.grown]}


class Prover:
    """Makes proofs against the largest published head."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._table = ChainTable(db)

    async def prove(self, seq: int | None, earlier: int = 0) -> Proof:
        """That row `seq` is in the largest published tree.

        Args:
            seq: as the event's record says.
            earlier: size of an older head, to prove that it grew into this one.

        Raises:
            HieError: NOT_FOUND where no published head covers the row; INVALID for an older
                size that is none; FAULT when the rows do not lead to the signed root.
        """
        async with self._db.reading() as conn:
            heads = await self._table.published(conn)
            if seq is None or not heads or seq >= heads[-1].head.size:
                text = "no published head covers this event yet: wait some seconds"
                raise HieError(Category.NOT_FOUND, text)
            signed = heads[-1]
            size = signed.head.size
            if not 0 <= earlier <= size:
                raise HieError(Category.INVALID, f"expected a size from 1 to {size}")
            rows: list[bytes] = []
            while len(rows) < size:
                page = await self._table.chained(conn, len(rows), min(_PAGE, size - len(rows)))
                if not page:
                    break
                rows += [row.stored for row in page]
        leaves = [merkle.leaf_hash(row) for row in rows]
        if merkle.root(leaves) != signed.head.root:
            raise HieError(Category.FAULT, "the trail is not what was signed: `hie audit verify`")
        return Proof(
            seq=seq,
            row_hash=rows[seq],
            signed=signed,
            path=merkle.inclusion_path(leaves, seq),
            earlier=earlier,
            grown=merkle.consistency_path(leaves, earlier) if earlier else (),
        )
