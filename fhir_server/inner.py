"""Reads inside of a Bundle: each is answered as the request it would be by itself.

The same table of addresses, the same scopes, the same door: nothing is seen this way that a
request of its own would not show, and each read is on record by itself.
Spec: https://hl7.org/fhir/R4/http.html#transaction
"""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol
from urllib.parse import parse_qsl, unquote

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.negotiate import require_json_accepted
from fhir_server.offered import is_never_stored
from hie.kernel.context import Caller
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.store.index import SearchIndex

#: Members of an entry's `request` that are headers of a request by itself.
_HEADERS: Final = {"ifNoneMatch": "If-None-Match", "ifModifiedSince": "If-Modified-Since"}
_MOST_PARAMS: Final = 500


class Address(Protocol):
    """What of a route a read needs (`fhir_server.table`)."""

    @property
    def method(self) -> str:
        """GET for a read."""
        ...

    @property
    def path(self) -> str:
        """`/{type}/{id}`."""
        ...

    @property
    def interaction(self) -> str:
        """FHIR's name."""
        ...

    @property
    def action(self) -> str:
        """The SMART action a scope must grant; "" = the handler checks."""
        ...

    @property
    def of_type(self) -> str:
        """Resource type where the path names none."""
        ...

    @property
    def handler(self) -> Callable[[Edge, Call], Awaitable[Answer]]:
        """Who answers."""
        ...


class Watcher(Protocol):
    """Is told of refused requests (`fhir_server.routes`)."""

    async def refused(
        self, *, request_id: str, caller: Caller | None, interaction: str, status: int
    ) -> None:
        """A request ended in 401 or 403."""
        ...


class InnerReads:
    """Answers the entries of a Bundle that read.

    Args:
        addresses: the API's, the more special first.
        watcher: told of what was refused.
    """

    def __init__(self, addresses: Sequence[Address], watcher: Watcher | None) -> None:
        self._addresses = [one for one in addresses if one.method == "GET"]
        self._watcher = watcher

    def call(self, edge: Edge, outer: Call, request: FhirJson) -> tuple[Address, Call]:
        """Whom an entry's request is for, and the request as a call.

        Args:
            edge: the collaborators.
            outer: the request that brought the Bundle.
            request: `Bundle.entry.request` of a GET or HEAD.

        Raises:
            HieError: NOT_FOUND for an address that the API has not, FORBIDDEN without scope.
        """
        url = request.get("url")
        url = url if isinstance(url, str) else ""
        path, _, query = url.removeprefix(f"{edge.settings.base_url}/").lstrip("/").partition("?")
        address, found = self._find([unquote(part) for part in path.split("/")])
        headers = {
            name: value
            for member, name in _HEADERS.items()
            if isinstance(value := request.get(member), str)
        }
        if "Prefer" in outer.headers:
            headers["Prefer"] = outer.headers["Prefer"]
        call = replace(
            outer,
            interaction=address.interaction,
            method="GET",
            type=address.of_type or found.get("type", ""),
            id=found.get("id", ""),
            compartment=found.get("compartment", ""),
            version=found.get("version", ""),
            params=_params(query),
            headers=headers,
            body=b"",
        )
        require_scope(edge.index, address.action, call)
        formats = [value for name, value in call.params if name == "_format"]
        require_json_accepted(None, formats[-1] if formats else None)
        return address, call

    async def answer(self, edge: Edge, outer: Call, request: FhirJson) -> Answer:
        """What a request by itself would get.

        Raises:
            HieError: what such a request would be refused with.
        """
        try:
            address, call = self.call(edge, outer, request)
            answer = await address.handler(edge, call)
        except HieError as error:
            if error.category is Category.FORBIDDEN and self._watcher is not None:
                await self._watcher.refused(
                    request_id=outer.ctx.request_id,
                    caller=outer.ctx.caller,
                    interaction=outer.interaction,
                    status=403,
                )
            raise
        if answer.stream is not None or answer.content_type:
            text = "the address gives no FHIR JSON; ask it by itself"
            raise HieError(Category.UNSUPPORTED, text)
        return replace(answer, body=b"") if request.get("method") == "HEAD" else answer

    def _find(self, parts: Sequence[str]) -> tuple[Address, Mapping[str, str]]:
        for address in self._addresses:
            found = _matched(address.path.strip("/").split("/"), parts)
            if found is not None:
                return address, found
        text = "the address is none of this API's that can be read"
        raise HieError(Category.NOT_FOUND, text, [Issue(text=text, code="not-found")])


def require_scope(index: SearchIndex, action: str, call: Call) -> None:
    """Make sure that the type exists and that the token may do this with it.

    Raises:
        HieError: NOT_FOUND or FORBIDDEN.
    """
    if call.type and not index.has_type(call.type):
        text = "the address names no resource type of R4"
        raise HieError(Category.NOT_FOUND, text, [Issue(text=text, code="not-supported")])
    if is_never_stored(call.type, call.interaction):
        text = f"no {call.type} is stored here: send it to an operation; `metadata` lists them"
        raise HieError(Category.NOT_FOUND, text, [Issue(text=text, code="not-supported")])
    if action and not call.ctx.caller.may(call.type, action):
        text = f"the token has no scope for `{action}` on {call.type}"
        raise HieError(Category.FORBIDDEN, text)


def _matched(template: Sequence[str], parts: Sequence[str]) -> dict[str, str] | None:
    if len(template) != len(parts):
        return None
    found = {}
    for wanted, part in zip(template, parts, strict=True):
        if wanted.startswith("{") and part:
            name, _, pattern = wanted[1:-1].partition(":")  # as aiohttp reads it
            if pattern and not re.fullmatch(pattern, part):
                return None
            found[name] = part
        elif wanted != part:
            return None
    return found


def _params(query: str) -> tuple[tuple[str, str], ...]:
    try:
        return tuple(parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMS))
    except ValueError as error:
        text = f"an address may have {_MOST_PARAMS} parameters"
        raise HieError(Category.INVALID, text) from error
