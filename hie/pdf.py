"""HTML to PDF: tagged for screen readers (PDF/UA-1), nothing of it depends on the moment.

The library is read when the first page is made: it takes a second and 60 MB, which a hub that
makes none does without. Nothing is fetched: a page brings all it shows.
"""

import logging
import warnings
from typing import Any, Final

from hie.kernel.errors import Category, HieError

_MISSING: Final = (
    "PDF cannot be made here: install the packages `libpango-1.0-0`, `libpangoft2-1.0-0`, "
    "`libharfbuzz-subset0` and `fonts-dejavu-core`, and start the hub anew"
)
_NOT_FETCHED: Final = "a page for a PDF brings all it shows; nothing is fetched"


def pdf_of(html: str, identifier: str) -> bytes:
    """A page as PDF. Takes some 0.3 s: run it in a thread.

    Args:
        html: complete; its `title` and `lang` become the document's.
        identifier: the document's own, part of the file.

    Raises:
        HieError: FAULT naming the packages where the machine lacks them.
    """
    page = _library().HTML(string=html, url_fetcher=_refuse)
    made: bytes = page.write_pdf(identifier=identifier.encode(), pdf_variant="pdf/ua-1")
    return made


def _library() -> Any:
    try:
        with warnings.catch_warnings():
            # Without libharfbuzz-subset fonts are cut in Python: slower, and as good.
            warnings.simplefilter("ignore", DeprecationWarning)
            import weasyprint  # noqa: PLC0415 - see above
    except (ImportError, OSError) as error:  # OSError: the shared libraries are not there
        raise HieError(Category.FAULT, _MISSING) from error
    # It tells of every style it does not know; nothing of that is for operators.
    logging.getLogger("weasyprint").setLevel(logging.CRITICAL)
    logging.getLogger("fontTools").setLevel(logging.CRITICAL)
    return weasyprint


def _refuse(url: str, *_: object, **__: object) -> dict[str, object]:
    del url
    raise ValueError(_NOT_FETCHED)
