"""Keys, envelope encryption and blind indexes; no database.

AES-256-GCM with a random 96-bit nonce; the associated data is table, column, row and key
id, so that a ciphertext moved to another row does not open. Blind indexes are keyed
BLAKE2b. The keys that wrap the others are kept outside the database (`hie.key_provider`).
Spec: NIST SP 800-38D; RFC 7693.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hie.kernel.errors import Category, HieError
from hie.key_provider import FileKeys, KeyProvider, Keys, MemoryKeys

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_BASE32 = tuple(high + low for high in _LETTERS for low in _LETTERS)
_SHIFTS = tuple(range(120, -1, -10))

NONCE_BYTES = 12


class DataKey:
    """One data-encryption key; `id` is stored beside what it seals."""

    __slots__ = ("_cipher", "id", "secret")

    def __init__(self, key_id: int, secret: bytes) -> None:
        self.id = key_id
        self.secret = secret
        self._cipher = AESGCM(secret)

    def seal(self, plaintext: bytes, *, table: str, column: str, row: str) -> bytes:
        """Nonce and ciphertext of a value that belongs in exactly this place."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        place = f"{table}|{column}|{row}|{self.id}".encode()
        return nonce + self._cipher.encrypt(nonce, plaintext, place)

    def open(self, sealed: bytes, *, table: str, column: str, row: str) -> bytes:
        """The value sealed for this place.

        Raises:
            HieError: FAULT when the ciphertext was changed, moved or is under another key.
        """
        place = f"{table}|{column}|{row}|{self.id}".encode()
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place)
        except (InvalidTag, ValueError) as error:
            text = f"`{table}.{column}` does not open under its key: changed or moved"
            raise HieError(Category.FAULT, text) from error


class KeyRing:
    """The keys of one hub, as a provider keeps them.

    A key that another process made current is taken up before the next wrapping, and one that
    it made when something does not open without it: nobody has to start anew.
    """

    def __init__(self, provider: KeyProvider) -> None:
        self.provider = provider
        self._stamp = provider.stamp()
        self._take(provider.load())
        self._blind_key = self._keys.blind
        self._hashers = {
            size: hashlib.blake2b(digest_size=size, key=self._blind_key) for size in (8, 16)
        }

    @classmethod
    def ephemeral(cls) -> Self:
        """A ring that lives in memory only: tests and dry runs."""
        return cls(MemoryKeys())

    @classmethod
    def load(cls, path: Path) -> Self:
        """The ring of a key file.

        Raises:
            HieError: FAULT when the file is missing, readable by others, or not a key file.
        """
        return cls(FileKeys(path))

    @classmethod
    def create(cls, path: Path) -> Self:
        """Write a new key file, mode 0600, and load it.

        Raises:
            FileExistsError: a key file is there; overwriting it would lose every record.
        """
        FileKeys(path).create()
        return cls.load(path)

    @property
    def current(self) -> str:
        """Id of the key that new data keys are wrapped by."""
        self._renew()
        return self._keys.current

    @property
    def since(self) -> Mapping[str, int]:
        """Every key by id, and when it became current; 0 = not written down."""
        self._renew()
        return {key_id: self._keys.since.get(key_id, 0) for key_id in self._keys.wrapping}

    def _renew(self) -> None:
        """Take up what the provider has now, where it may have changed.

        Raises:
            HieError: FAULT when its keys are another hub's.
        """
        stamp = self.provider.stamp()
        if stamp == self._stamp:
            return
        keys = self.provider.load()
        if (keys.blind, keys.audit) != (self._keys.blind, self._keys.audit):
            raise HieError(Category.FAULT, "the key provider holds the keys of another hub")
        self._take(keys)
        self._stamp = stamp

    def _take(self, keys: Keys) -> None:
        if keys.current not in keys.wrapping:
            raise HieError(Category.FAULT, "the key provider lacks the key it calls current")
        self._keys = keys

    def wrap(self, secret: bytes, *, place: str) -> bytes:
        """A data key sealed under the current key-encryption key: `<kek id>:<sealed>`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        current = self.current
        sealed = self._keys.wrapping[current].encrypt(nonce, secret, place.encode())
        return current.encode() + b":" + nonce + sealed

    def unwrap(self, wrapped: bytes, *, place: str) -> bytes:
        """The data key that `wrap` sealed for this place.

        Raises:
            HieError: FAULT when its key-encryption key is not in the file, or it was changed.
        """
        key_id, _, sealed = wrapped.partition(b":")
        named = key_id.decode("ascii", "replace")
        if named not in self._keys.wrapping:
            self._renew()
        cipher = self._keys.wrapping.get(named)
        if cipher is None:
            raise HieError(Category.FAULT, "a data key needs a key that the key file lacks")
        try:
            return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place.encode())
        except (InvalidTag, ValueError) as error:
            raise HieError(Category.FAULT, "a data key does not open: changed or moved") from error

    def blind(self, domain: str, *parts: str) -> str:
        """Keyed 128-bit hash of `parts`, 26 characters of base32; domains never meet."""
        # Base32 of RFC 4648, ten bits a step: the library's loop takes as long as the hash.
        number = int.from_bytes(self._digest(domain, parts, 16), "big") << 2
        return "".join([_BASE32[number >> shift & 1023] for shift in _SHIFTS])

    def blind64(self, domain: str, *parts: str) -> int:
        """Keyed hash of `parts` as a signed 64-bit integer, for key tables."""
        return int.from_bytes(self._digest(domain, parts, 8), "big", signed=True)

    def fingerprint(self, content: bytes) -> bytes:
        """Keyed 128-bit hash of a body, to see whether it changed; tells nothing else."""
        return hashlib.blake2b(
            content, digest_size=16, key=self._blind_key, person=b"body"
        ).digest()

    def audit_signing_key(self) -> Ed25519PrivateKey:
        """The key that signs the audit trail's tree heads."""
        return Ed25519PrivateKey.from_private_bytes(self._keys.audit)

    def sealing_key(self, purpose: str) -> DataKey:
        """A key for values that leave the hub and come back, such as page cursors."""
        seed = hmac.new(self._blind_key, f"seal|{purpose}".encode(), hashlib.sha256).digest()
        return DataKey(0, seed)

    def _digest(self, domain: str, parts: tuple[str, ...], size: int) -> bytes:
        # Length prefixes keep ("ab", "c") apart from ("a", "bc").
        message = "".join([f"{len(part)}:{part}" for part in (domain, *parts)])
        hasher = self._hashers[size].copy()  # taking the key in takes as long as hashing
        hasher.update(message.encode("utf-8", "surrogatepass"))
        return hasher.digest()
