"""What is answered where aiohttp refuses a request by itself: no route, no such method, no HTTP.

Its own words repeat what was sent, and are text whatever the API speaks.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import hdrs, web

#: On every answer that does not bring them itself.
HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
SERVER: Final = "hie"  # no versions for whoever looks for old ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How an API words what is refused before its handlers: by status, as bytes of a type."""

    content_type: str
    body: Callable[[int], bytes]


def _plain(status: int) -> bytes:
    return f"{status}: {REASONS.get(status, 'the request cannot be answered')}\n".encode()


#: Where no API is asked; never aiohttp's own words, which repeat what was sent.
REASONS: Final[Mapping[int, str]] = {
    400: "expected what this address takes, in well-formed HTTP",
    404: "there is nothing here; FHIR begins at /fhir/metadata, the staff API at /staff/v1",
    405: "this method is not taken here; `Allow` names those that are",
    413: "the request body is too large",
    417: "`Expect`: only `100-continue` is known",
}
PLAIN: Final = Form(content_type="text/plain", body=_plain)


class Refusals:
    """What aiohttp refuses by itself, told in the form of the API that was asked.

    Args:
        forms: by the beginning of an address, `/fhir`.
        unread: for what is no HTTP, whose address is not known.
    """

    def __init__(self, forms: Mapping[str, Form] | None = None, unread: Form = PLAIN) -> None:
        self._forms = dict(forms or {})
        self._unread = unread

    def answer(self, path: str, refusal: web.HTTPException) -> web.Response:
        """An exception of aiohttp's as an answer; of its headers what the client needs."""
        begins = (form for start, form in self._forms.items() if _is_below(path, start))
        response = _refused(next(begins, PLAIN), refusal.status)
        for name in (hdrs.ALLOW, "X-Request-Id"):
            if name in refusal.headers:
                response.headers[name] = refusal.headers[name]
        return response

    def malformed(self, status: int) -> web.Response:
        """The answer to what is no HTTP; the connection ends with it."""
        response = _refused(self._unread, status)
        response.headers.update({**HEADERS, hdrs.SERVER: SERVER})
        response.force_close()
        return response


def _is_below(path: str, start: str) -> bool:
    return path == start or path.startswith(f"{start}/")


def _refused(form: Form, status: int) -> web.Response:
    body = form.body(status)
    return web.Response(status=status, body=body, content_type=form.content_type, charset="utf-8")
