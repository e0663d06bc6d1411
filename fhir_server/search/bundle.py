"""Pages as Bundles: stored bytes joined, no body parsed again (pure).

Spec: https://hl7.org/fhir/R4/bundle.html#searchset, https://hl7.org/fhir/R4/bundle.html#history
"""

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote, urlencode

import orjson

from fhir_server.negotiate import etag
from fhir_server.outcome import operation_outcome
from fhir_server.search.cursor import CURSOR_PARAM
from hie.kernel.clock import instant
from hie.kernel.errors import Issue
from hie.store.query import Page, Served

Params = Sequence[tuple[str, str]]
#: What may stand in a query unescaped and is easier to read so.
_READABLE: Final = ",|:/$"


def link(base: str, address: str, params: Params = ()) -> str:
    """A URL of this server."""
    query = urlencode(list(params), safe=_READABLE, quote_via=quote)
    return f"{base}/{address}?{query}" if query else f"{base}/{address}"


def next_link(base: str, address: str, token: str) -> str:
    """The URL of the next page; all it tells is the sealed token."""
    return link(base, address, [(CURSOR_PARAM, token)])


def searchset(
    page: Page,
    *,
    base: str,
    self_url: str,
    next_url: str | None = None,
    first_url: str | None = None,
    warnings: Sequence[Issue] = (),
) -> bytes:
    """A page of a search or of `$everything` as a Bundle.

    Args:
        page: matches, then what they refer to.
        base: of every fullUrl.
        self_url: the search as understood.
        next_url: None on the last page.
        first_url: None on the first page.
        warnings: told in an OperationOutcome entry of mode `outcome`.
    """
    url = base.encode()
    parts = [_head(b"searchset", page.total, self_url, next_url, first_url)]
    entries = [
        *_entries(url, page.matches, b"match"),
        *_entries(url, page.included, b"include"),
    ]
    if warnings:
        told = operation_outcome(warnings)
        entries.append(b'{"resource":' + told + b',"search":{"mode":"outcome"}}')
    return _closed(parts, entries)


def history(page: Page, *, base: str, self_url: str, next_url: str | None = None) -> bytes:
    """Versions of a resource, newest first, as a Bundle of type history."""
    parts = [_head(b"history", page.total, self_url, next_url)]
    return _closed(parts, [_version(base, served) for served in page.matches])


def scored(entries: Sequence[bytes], *, total: int, self_url: str) -> bytes:
    """A searchset of entries made with `entry`, best first; `total` counts those cut off too."""
    return _closed([_head(b"searchset", total, self_url, None)], entries)


def entry(base: str, served: Served, search: bytes) -> bytes:
    """An entry of a searchset; `search` is its JSON of that name."""
    address = f"{base}/{served.type}/{served.id}".encode()
    return b'{"fullUrl":"%s","resource":%s,"search":%s}' % (address, served.body, search)


def _head(
    kind: bytes,
    total: int | None,
    self_url: str,
    next_url: str | None,
    first_url: str | None = None,
) -> bytes:
    urls = {"self": self_url, "first": first_url, "next": next_url}
    links = [{"relation": name, "url": url} for name, url in urls.items() if url is not None]
    counted = b"" if total is None else b',"total":%d' % total
    return b'{"resourceType":"Bundle","type":"%s"%s,"link":%s' % (
        kind,
        counted,
        orjson.dumps(links),
    )


def _entries(base: bytes, found: Sequence[Served], mode: bytes) -> Iterator[bytes]:
    tail = b',"search":{"mode":"' + mode + b'"}}'
    for served in found:
        address = f"{served.type}/{served.id}".encode()
        yield b'{"fullUrl":"%s/%s","resource":%s%s' % (base, address, served.body, tail)


def _version(base: str, served: Served) -> bytes:
    address = f"{served.type}/{served.id}"
    if served.is_deleted:
        method, url, status = "DELETE", address, "204"
    elif served.version == "1":
        method, url, status = "POST", served.type, "201"
    else:
        method, url, status = "PUT", address, "200"
    response = {
        "status": status,
        "etag": etag(served.version),
        "lastModified": instant(served.last_updated_us),
    }
    resource = b"" if served.is_deleted else b',"resource":' + served.body
    return b'{"fullUrl":"%s/%s"%s,"request":%s,"response":%s}' % (
        base.encode(),
        address.encode(),
        resource,
        orjson.dumps({"method": method, "url": url}),
        orjson.dumps(response),
    )


def _closed(parts: list[bytes], entries: Sequence[bytes]) -> bytes:
    # FHIR JSON has no empty arrays.
    if entries:
        parts += [b',"entry":[', b",".join(entries), b"]"]
    return b"".join([*parts, b"}"])
