"""Where the keys that wrap all others are kept: a file, the environment, a module of the site's.

A provider gives the keys of one hub and, where it can, makes a new one. A site with a hardware
module or a key service writes its own: a wrapping key only has to `encrypt` and `decrypt` as
`AESGCM` does, so it may stay where it is. See docs/howto/keys.md.
"""

import base64
import binascii
import importlib
import json
import os
import secrets
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol, Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hie.kernel.errors import Category, HieError

KEY_BYTES: Final = 32
#: The variable that holds the keys where the provider is the environment.
KEYS_VARIABLE: Final = "HIE_KEYS"
FILE, ENVIRONMENT = "file", "environment"


class WrappingKey(Protocol):
    """Wraps data keys; AES-256-GCM, or what a key service does in its place."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """The ciphertext and its tag."""
        ...

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """The plaintext; `cryptography.exceptions.InvalidTag` or ValueError where it is none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The keys of one hub.

    Attributes:
        current: id of the wrapping key that new data keys are wrapped by.
        wrapping: every wrapping key that something may still be wrapped by.
        since: when each became current, microseconds UTC; older hubs did not write it down.
        blind: of the blind index; 32 bytes, for the life of the database.
        audit: seed of the key that signs the audit trail's heads; 32 bytes.
    """

    current: str
    wrapping: Mapping[str, WrappingKey]
    blind: bytes
    audit: bytes
    since: Mapping[str, int] = field(default_factory=dict)


class KeyProvider(Protocol):
    """Keeps the keys of one hub."""

    @property
    def name(self) -> str:
        """What operations call it."""
        ...

    def stamp(self) -> Hashable:
        """Changes when the keys may have; asked before every wrapping, so it must be cheap."""
        ...

    def load(self) -> Keys:
        """The keys.

        Raises:
            HieError: FAULT when they cannot be read; say why, never what was read.
        """
        ...

    def add(self, now_us: int) -> str:
        """Make a new wrapping key the current one; its id. Ids are never used twice.

        Raises:
            HieError: INVALID where keys are not made here, with what to do instead.
        """
        ...

    def drop(self, key_id: str) -> None:
        """Destroy a wrapping key that is not current.

        Raises:
            HieError: INVALID where keys are not destroyed here, with what to do instead.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """The JSON of a key file: keys in base64; `made` counts them, so that no id comes twice."""

    current: str
    keys: dict[str, str]
    blind: str
    audit: str
    since: dict[str, int] = field(default_factory=dict)
    made: int = 1

    @classmethod
    def fresh(cls) -> Self:
        return cls(current="k1", keys={"k1": _secret()}, blind=_secret(), audit=_secret())

    @classmethod
    def read(cls, text: str) -> Self:
        """Raises ValueError, KeyError or TypeError for what is none."""
        found = json.loads(text)
        keys = dict(found["keys"])
        numbers = [int(name[1:]) for name in keys if name[1:].isdecimal()]
        return cls(
            current=str(found["current"]),
            keys=keys,
            blind=found["blind"],
            audit=found["audit"],
            since={name: int(at_us) for name, at_us in found.get("since", {}).items()},
            made=int(found.get("made", max(numbers, default=1))),
        )

    def keys_of(self) -> Keys:
        """Raises ValueError or KeyError where a key is none of 32 bytes."""
        wrapping = {name: AESGCM(_bytes(written)) for name, written in self.keys.items()}
        return Keys(
            current=next(name for name in [self.current] if wrapping[name]),
            wrapping=wrapping,
            blind=_bytes(self.blind),
            audit=_bytes(self.audit),
            since=self.since,
        )

    def with_new(self, now_us: int) -> tuple[str, "_Stored"]:
        number = self.made + 1
        key_id = f"k{number}"
        changed = replace(
            self,
            current=key_id,
            keys={**self.keys, key_id: _secret()},
            since={**self.since, key_id: now_us},
            made=number,
        )
        return key_id, changed

    def without(self, key_id: str) -> "_Stored":
        kept = {name: key for name, key in self.keys.items() if name != key_id}
        since = {name: at_us for name, at_us in self.since.items() if name != key_id}
        return replace(self, keys=kept, since=since)

    def text(self) -> str:
        return json.dumps(
            {
                "current": self.current,
                "keys": self.keys,
                "since": self.since,
                "made": self.made,
                "blind": self.blind,
                "audit": self.audit,
            }
        )


class FileKeys:
    """Keys in a file of mode 0600.

    Args:
        path: the file; it is made by `create`, never by reading.
    """

    name = FILE

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_new = False

    def create(self) -> None:
        """Write a new file.

        Raises:
            FileExistsError: a key file is there; overwriting it would lose every record.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(self.path, _Stored.fresh().text(), os.O_EXCL)
        self.is_new = True

    def take_back(self) -> bool:
        """Delete a file that was made just now; whether it was."""
        if self.is_new:
            self.path.unlink()
        return self.is_new

    def stamp(self) -> Hashable:
        """Time, size and inode of the file."""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def load(self) -> Keys:
        """The keys of the file.

        Raises:
            HieError: FAULT when it is missing, readable by others, or no key file.
        """
        try:
            if self.path.stat().st_mode & 0o077:
                text = f"key file `{self.path.name}` is readable by others: run `chmod 600` on it"
                raise HieError(Category.FAULT, text)
            return self._stored().keys_of()
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            text = f"key file `{self.path.name}` cannot be read: {type(error).__name__}"
            raise HieError(Category.FAULT, text) from error

    def add(self, now_us: int) -> str:
        """Write the file anew with one more key, the current one; readers see it whole."""
        key_id, changed = self._stored().with_new(now_us)
        self._replace(changed)
        return key_id

    def drop(self, key_id: str) -> None:
        """Write the file anew without a key."""
        self._replace(self._stored().without(key_id))

    def _stored(self) -> _Stored:
        return _Stored.read(self.path.read_text(encoding="utf-8"))

    def _replace(self, stored: _Stored) -> None:
        new = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        _write(new, stored.text(), os.O_EXCL)
        new.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class EnvironmentKeys:
    """Keys in `HIE_KEYS`, as the text of a key file; for places that hand secrets over so."""

    name = ENVIRONMENT

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def stamp(self) -> Hashable:
        """The environment of a process does not change."""
        return ENVIRONMENT

    def load(self) -> Keys:
        """The keys of the variable.

        Raises:
            HieError: FAULT when it is missing or is no key file.
        """
        try:
            return _Stored.read(self._environ[KEYS_VARIABLE]).keys_of()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            text = f"`{KEYS_VARIABLE}`: expected the text of a key file: {type(error).__name__}"
            raise HieError(Category.FAULT, text) from error

    def add(self, now_us: int) -> str:
        """Refused: the environment is written by whoever starts the hub."""
        del now_us
        text = (
            f"`{KEYS_VARIABLE}`: add a key there, name it `current`, start every process of the "
            "hub anew, then run `hie keys rotate` again"
        )
        raise HieError(Category.INVALID, text)

    def drop(self, key_id: str) -> None:
        """Refused: the environment is written by whoever starts the hub."""
        text = f"`{KEYS_VARIABLE}`: take the key `{key_id}` out there and start the hub anew"
        raise HieError(Category.INVALID, text)


class MemoryKeys:
    """Keys that live in memory only: tests and dry runs."""

    name = "memory"

    def __init__(self) -> None:
        self._stored = _Stored.fresh()

    def stamp(self) -> Hashable:
        """How many keys were made."""
        return self._stored.made, len(self._stored.keys)

    def load(self) -> Keys:
        """The keys."""
        return self._stored.keys_of()

    def add(self, now_us: int) -> str:
        """Make a new current key."""
        key_id, self._stored = self._stored.with_new(now_us)
        return key_id

    def drop(self, key_id: str) -> None:
        """Forget a key."""
        self._stored = self._stored.without(key_id)


def provider_of(named: str, key_file: Path) -> KeyProvider:
    """The provider of a setting: `file`, `environment` or `package.module:factory`.

    A key file that is not there is made: it is a hub's first start.

    Raises:
        HieError: INVALID when the module or its factory is not there.
    """
    if named == FILE:
        file = FileKeys(key_file)
        if not key_file.exists():
            file.create()
        return file
    if named == ENVIRONMENT:
        return EnvironmentKeys()
    module, _, factory = named.partition(":")
    try:
        made: Any = getattr(importlib.import_module(module), factory)
    except (ImportError, AttributeError, ValueError) as error:
        text = "`key_provider`: expected file, environment or `package.module:factory`"
        raise HieError(Category.INVALID, f"{text}: {type(error).__name__}") from error
    provider: KeyProvider = made()
    return provider


def _secret() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def _bytes(written: str) -> bytes:
    try:
        found = base64.b64decode(written, validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    if len(found) != KEY_BYTES:
        raise ValueError("not 32 bytes")
    return found


def _write(path: Path, text: str, flag: int) -> None:
    handle = os.open(path, os.O_CREAT | flag | os.O_WRONLY, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
