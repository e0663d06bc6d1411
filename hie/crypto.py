"""Keys, envelope encryption and blind indexes; no database.

AES-256-GCM with a random 96-bit nonce; the associated data is table, column, row and key
id, so that a ciphertext moved to another row does not open. Blind indexes are keyed
BLAKE2b. Every derived key comes from a key-encryption key in one file outside the database.
Spec: NIST SP 800-38D; RFC 7693.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hie.kernel.errors import Category, HieError

_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
_BASE32 = tuple(high + low for high in _LETTERS for low in _LETTERS)
_SHIFTS = tuple(range(120, -1, -10))

NONCE_BYTES = 12
KEY_BYTES = 32


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


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """What `HIE_KEY_FILE` holds: the current key's id, and every key by id."""

    current: str
    keys: dict[str, bytes]
    blind: bytes
    audit: bytes


class KeyRing:
    """The keys of one hub, loaded from its key file."""

    def __init__(self, content: KeyFile) -> None:
        self._wrapping = {key_id: AESGCM(key) for key_id, key in content.keys.items()}
        self._blind_key = content.blind
        self._hashers = {
            size: hashlib.blake2b(digest_size=size, key=content.blind) for size in (8, 16)
        }
        self._audit_seed = content.audit
        self.current = content.current

    @classmethod
    def ephemeral(cls) -> Self:
        """A ring that lives in memory only: tests and dry runs."""
        return cls(_fresh_content())

    @classmethod
    def load(cls, path: Path) -> Self:
        """The ring of a key file.

        Raises:
            HieError: FAULT when the file is missing, readable by others, or not a key file.
        """
        try:
            if path.stat().st_mode & 0o077:
                text = f"key file `{path.name}` is readable by others: run `chmod 600` on it"
                raise HieError(Category.FAULT, text)
            stored = json.loads(path.read_text())
            return cls(
                KeyFile(
                    current=stored["current"],
                    keys={k: base64.b64decode(v) for k, v in stored["keys"].items()},
                    blind=base64.b64decode(stored["blind"]),
                    audit=base64.b64decode(stored["audit"]),
                )
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            text = f"key file `{path.name}` cannot be read: {type(error).__name__}"
            raise HieError(Category.FAULT, text) from error

    @classmethod
    def create(cls, path: Path) -> Self:
        """Write a new key file, mode 0600, and load it.

        Raises:
            FileExistsError: a key file is there; overwriting it would lose every record.
        """
        content = _fresh_content()
        stored = {
            "current": content.current,
            "keys": {k: base64.b64encode(v).decode() for k, v in content.keys.items()},
            "blind": base64.b64encode(content.blind).decode(),
            "audit": base64.b64encode(content.audit).decode(),
        }
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(handle, "w") as file:
            json.dump(stored, file)
            file.flush()
            os.fsync(file.fileno())
        return cls(content)

    @classmethod
    def load_or_create(cls, path: Path) -> Self:
        """The ring of a key file, made on first start."""
        return cls.load(path) if path.exists() else cls.create(path)

    def wrap(self, secret: bytes, *, place: str) -> bytes:
        """A data key sealed under the current key-encryption key: `<kek id>:<sealed>`."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        sealed = self._wrapping[self.current].encrypt(nonce, secret, place.encode())
        return self.current.encode() + b":" + nonce + sealed

    def unwrap(self, wrapped: bytes, *, place: str) -> bytes:
        """The data key that `wrap` sealed for this place.

        Raises:
            HieError: FAULT when its key-encryption key is not in the file, or it was changed.
        """
        key_id, _, sealed = wrapped.partition(b":")
        cipher = self._wrapping.get(key_id.decode("ascii", "replace"))
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
        return Ed25519PrivateKey.from_private_bytes(self._audit_seed)

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


def _fresh_content() -> KeyFile:
    return KeyFile(
        current="k1",
        keys={"k1": secrets.token_bytes(KEY_BYTES)},
        blind=secrets.token_bytes(KEY_BYTES),
        audit=secrets.token_bytes(KEY_BYTES),
    )
