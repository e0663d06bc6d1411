"""Binary: raw bytes or the resource, as the client accepts; raw bytes taken as well.

A client that asks for FHIR JSON gets the resource, one that asks for the content's own type, or
for anything, the bytes. Content comes from senders: it is handed out as a file to be kept, which
no browser runs. Who may see it is the door's to say, before its type is looked at.
Spec: https://hl7.org/fhir/R4/binary.html#rest
"""

import asyncio
import base64
import re
from binascii import Error as NotBase64
from dataclasses import replace
from typing import Final

import orjson
from multidict import CIMultiDict

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions.create import deliver
from fhir_server.interactions.read import answer
from fhir_server.negotiate import FHIR_JSON, JSON_TYPES, prefers_resource
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import RELATIVE, FhirJson
from hie.store.query import Served

#: Where a sender says whose record decides on what it sends.
SECURITY_CONTEXT: Final = "X-Security-Context"
OCTETS: Final = "application/octet-stream"
#: Above this a thread takes the text apart.
_ASIDE_BYTES: Final = 128 * 1024
_MEDIA_TYPE: Final = re.compile(
    r"^[A-Za-z0-9][\w!#$&^.+-]{0,99}/[A-Za-z0-9][\w!#$&^.+-]{0,99}"
    r"(; ?[\w!#$&^.+-]{1,99}=[\w!#$&^.+:-]{1,99})*$",
    re.ASCII,
)
_AS_A_FILE: Final = {
    "Content-Disposition": "attachment",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


async def read_binary(edge: Edge, call: Call) -> Answer:
    """The current version, or with a version in the address that one.

    Raises:
        HieError: NOT_FOUND, GONE; NOT_ACCEPTABLE for a client that takes neither form.
    """
    if call.version:
        served = await edge.door.vread(call.ctx, call.type, call.id, call.version)
    else:
        served = await edge.door.read(call.ctx, call.type, call.id)
    is_large = len(served.body) > _ASIDE_BYTES
    media, content = await asyncio.to_thread(_opened, served) if is_large else _opened(served)
    formats = [text for name, text in call.params if name == "_format"]
    told = answer(served, call)
    if prefers_resource(call.headers.get("Accept"), formats[-1] if formats else None, media):
        return told
    headers = {**told.headers, **_AS_A_FILE}
    if told.status == 304:
        return replace(told, headers=headers)
    return Answer(headers=headers, body=content, content_type=media)


async def write_binary(edge: Edge, call: Call) -> Answer:
    """Create or update, of FHIR JSON as of any other resource, of other types as raw bytes.

    Raises:
        HieError: INVALID for a header that cannot be read, and what every write raises.
    """
    sent = (call.headers.get("Content-Type") or "").strip()
    if not sent or sent.partition(";")[0].strip().lower() in JSON_TYPES:
        return await deliver(edge, call)
    if not _MEDIA_TYPE.match(sent):
        raise _wrong("Content-Type", "expected a media type such as `application/pdf`")
    headers = CIMultiDict(call.headers)
    headers["Content-Type"] = FHIR_JSON
    is_large = len(call.body) > _ASIDE_BYTES
    body = await asyncio.to_thread(_wrapped, call, sent) if is_large else _wrapped(call, sent)
    return await deliver(edge, replace(call, headers=headers, body=body))


def _opened(served: Served) -> tuple[str, bytes]:
    """Media type and bytes of a Binary; what is no base64 is as empty as what is not there."""
    resource = orjson.loads(served.body)
    media = str(resource.get("contentType", ""))
    try:
        content = base64.b64decode("".join(str(resource.get("data", "")).split()))
    except (NotBase64, ValueError):
        content = b""
    return media if _MEDIA_TYPE.match(media) else OCTETS, content


def _wrapped(call: Call, media: str) -> bytes:
    """The Binary that raw bytes are."""
    told: FhirJson = {"resourceType": "Binary", "contentType": media}
    if call.id:
        told["id"] = call.id
    context = (call.headers.get(SECURITY_CONTEXT) or "").strip()
    if context:
        if not RELATIVE.match(context):
            raise _wrong(SECURITY_CONTEXT, "expected a reference such as `Patient/1`")
        told["securityContext"] = {"reference": context}
    told["data"] = base64.b64encode(call.body).decode("ascii")
    return orjson.dumps(told)


def _wrong(header: str, expected: str) -> HieError:
    issue = Issue(text=f"`{header}`: {expected}", code="value", expression=(f"http.{header}",))
    return HieError(Category.INVALID, issue.text, [issue])
