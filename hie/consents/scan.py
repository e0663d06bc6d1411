"""A scanned paper, held against what it says it is (pure).

A file is what its first bytes say, whatever it is called; what a browser could run is no scan.
"""

import base64
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from hie.kernel.errors import Category, HieError, Issue

#: Bytes a scan may have: a few pages at 300 dpi.
MOST_BYTES: Final = 10 * 1024 * 1024
#: How a file of each type begins, and how it ends where that is said.
_BEGIN: Final[Mapping[str, tuple[bytes, ...]]] = {
    "application/pdf": (b"%PDF-1.", b"%PDF-2."),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/tiff": (b"II*\x00", b"MM\x00*"),
}
_LEAST_BYTES: Final = 64
TYPES: Final = tuple(_BEGIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A paper as a file."""

    media_type: str
    content: bytes
    title: str = ""


def read_scan(media_type: str, text: str, title: str, place: str) -> Scan:
    """The scan that a request brings in base64.

    Args:
        media_type: as it says.
        text: base64.
        title: what people call it.
        place: of the request, for what is wrong with it.

    Raises:
        HieError: TOO_LARGE, INVALID or UNSUPPORTED_MEDIA.
    """
    if len(text) > MOST_BYTES * 4 // 3 + 8:
        raise _fault(Category.TOO_LARGE, f"{place}/content", f"expected at most {MOST_BYTES} bytes")
    if media_type not in _BEGIN:
        expected = f"expected one of {', '.join(TYPES)}"
        raise _fault(Category.UNSUPPORTED_MEDIA, f"{place}/media_type", expected)
    try:
        content = base64.b64decode(text, validate=True)
    except (NotBase64, ValueError) as error:
        raise _fault(Category.INVALID, f"{place}/content", "expected base64") from error
    if len(content) > MOST_BYTES:
        raise _fault(Category.TOO_LARGE, f"{place}/content", f"expected at most {MOST_BYTES} bytes")
    if len(content) < _LEAST_BYTES or not content.startswith(_BEGIN[media_type]):
        expected = (
            f"expected a file of {_LEAST_BYTES} bytes or more that begins as `{media_type}` does"
        )
        raise _fault(Category.INVALID, f"{place}/content", expected)
    return Scan(media_type=media_type, content=content, title=title)


def _fault(category: Category, pointer: str, text: str) -> HieError:
    place = pointer.rsplit("/", 1)[-1]
    return HieError(
        category, f"`{place}`: {text}", [Issue(text=text, code="value", expression=(pointer,))]
    )
