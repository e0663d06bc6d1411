"""Commands about receipts of Consents: whether a file is one, the key to tell it by."""

import argparse
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from hie.commands.parser import command, settings_of
from hie.consents import receipt
from hie.crypto import KeyRing
from hie.flow.receipts import signing_key
from hie.kernel.errors import Category, HieError

#: A file above it is no receipt.
_MOST_BYTES: Final = 20 * 2**20
_CHANGED: Final = 3


def register_in(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `receipt` to the commands about Consents."""
    receipts = actions.add_parser("receipt", help="Check receipts of Consents.")
    found = receipts.add_subparsers(title="actions", required=True, metavar="ACTION")
    arguments = command(
        found,
        "verify",
        "Say whether a file is a receipt as this hub signed it. "
        f"0: it is; {_CHANGED}: it is not, and why; 2: it cannot be read.",
        verify,
    )
    arguments.add_argument("file", type=Path, metavar="FILE", help="the PDF")
    arguments.add_argument(
        "--key", type=Path, metavar="PEM", help="another hub's public key, instead of this one's"
    )
    command(found, "key", "Print the public key that receipts are checked with.", key)


def verify(arguments: argparse.Namespace) -> int:
    """Say whether a file is genuine."""
    path: Path = arguments.file
    if path.stat().st_size > _MOST_BYTES:
        raise HieError(Category.TOO_LARGE, f"a receipt has at most {_MOST_BYTES} bytes")
    checked = judged(path.read_bytes(), arguments.key.read_text() if arguments.key else own_pem())
    if checked.is_genuine:
        print(f"genuine: signed with key {checked.key_id}, and unchanged since")
        return 0
    print(f"not genuine: {checked.why}")
    return _CHANGED


def key(_: argparse.Namespace) -> int:
    """Print the public key."""
    print(own_pem(), end="")
    return 0


def own_pem() -> str:
    """The public key of this machine's hub."""
    ring = KeyRing.load(settings_of().key_file)
    return receipt.public_pem(signing_key(ring).public_key())


def judged(file: bytes, pem: str) -> receipt.Checked:
    """What the check of a file with a public key comes to.

    Raises:
        HieError: INVALID where the key is none of Ed25519.
    """
    try:
        public = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise HieError(Category.INVALID, "expected a public key in PEM") from error
    if not isinstance(public, Ed25519PublicKey):
        raise HieError(Category.INVALID, "expected a public key of Ed25519")
    return receipt.check(file, {receipt.key_id(public): public})
