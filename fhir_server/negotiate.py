"""What client and server agree on by headers: format, preference, version (pure).

Spec: https://hl7.org/fhir/R4/http.html#mime-type, https://hl7.org/fhir/R4/http.html#versioning
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

from hie.kernel.clock import EPOCH, SECOND_US
from hie.kernel.errors import Category, HieError

FHIR_JSON: Final = "application/fhir+json"
ENCODINGS: Final = ("gzip", "deflate", "identity")
FORM: Final = "application/x-www-form-urlencoded"
JSON_TYPES: Final = frozenset({FHIR_JSON, "application/json", "text/json"})
ACCEPTED: Final = JSON_TYPES | {"application/*", "text/*", "*/*", "*"}
ANYTHING: Final = "*/*"
#: Values of `_format`, which may also be media types.
SHORT_FORMATS: Final = frozenset({"json"})
FHIR_VERSIONS: Final = frozenset({"4.0", "4.0.1"})


def require_json_accepted(
    accept: str | None, format_param: str | None, also: Collection[str] = ()
) -> None:
    """Make sure that the client takes FHIR JSON of R4; `_format` overrides Accept.

    Args:
        accept: the header.
        format_param: `_format`.
        also: media types that the address gives as well; with `*/*` its handler decides.

    Raises:
        HieError: NOT_ACCEPTABLE otherwise.
    """
    if ANYTHING in also:
        return
    if format_param is not None:
        # A plus sign in a query that was not escaped arrives as a space.
        asked = format_param.replace(" ", "+") if ";" not in format_param else format_param
        if asked in SHORT_FORMATS or any(_is_json(*part) for part in _media(asked)):
            return
        if any(name in also for name, _ in _media(asked)):
            return
        raise HieError(Category.NOT_ACCEPTABLE, f"`_format`: only `{FHIR_JSON}` is offered")
    if accept is None or not accept.strip():
        return
    if any(name in also for name, _ in _media(accept)):
        return
    if not any(_is_json(*part) for part in _media(accept)):
        raise HieError(Category.NOT_ACCEPTABLE, f"`Accept`: only `{FHIR_JSON}` of R4 is offered")


def prefers_resource(accept: str | None, format_param: str | None, media: str) -> bool:
    """Whether a client wants a Binary as FHIR JSON, not as the bytes of its media type.

    FHIR JSON by name wins where both are taken alike; who names neither gets the bytes.

    Args:
        accept: the header.
        format_param: `_format`, which overrides it.
        media: of the content, `application/pdf`.

    Raises:
        HieError: NOT_ACCEPTABLE when neither is taken.
    """
    if format_param in SHORT_FORMATS:
        return True
    wanted = list(_media((format_param or "").replace(" ", "+") or accept or ANYTHING))
    own = media.partition(";")[0].strip().lower()
    bytes_quality = _quality(own, wanted)
    named = [_weight(p) for name, p in wanted if name in JSON_TYPES and _is_json(name, p)]
    if named and max(named) >= bytes_quality:
        return True
    if bytes_quality > 0:
        return False
    if any(_is_json(*part) for part in wanted):
        return True
    text = f"`Accept`: only `{FHIR_JSON}` and the type of the content are offered"
    raise HieError(Category.NOT_ACCEPTABLE, text)


def require_json_content(content_type: str | None, more: Sequence[str] = ()) -> None:
    """Make sure that a body is FHIR JSON of R4 in UTF-8, or of another type that is taken.

    Raises:
        HieError: UNSUPPORTED_MEDIA otherwise.
    """
    for name, parameters in _media(content_type or ""):
        charset = parameters.get("charset", "utf-8").strip('"').lower()
        version = parameters.get("fhirversion", "4.0").strip('"')
        is_known = (name in JSON_TYPES or name in more) and version in FHIR_VERSIONS
        if is_known and charset in ("utf-8", "utf8", "us-ascii"):
            return
    expected = " or ".join(f"`{name}`" for name in (FHIR_JSON, *more))
    raise HieError(Category.UNSUPPORTED_MEDIA, f"`Content-Type`: expected {expected}, R4 in UTF-8")


def require_known_encoding(content_encoding: str | None) -> None:
    """Make sure that a body is compressed in a way that is taken, or not at all.

    Raises:
        HieError: UNSUPPORTED_MEDIA otherwise.
    """
    if (content_encoding or "identity").strip().lower() not in ENCODINGS:
        text = f"`Content-Encoding`: expected one of {', '.join(ENCODINGS)}"
        raise HieError(Category.UNSUPPORTED_MEDIA, text)


def require_form_content(content_type: str | None) -> None:
    """Make sure that a body is a form.

    Raises:
        HieError: UNSUPPORTED_MEDIA otherwise.
    """
    if not any(name == FORM for name, _ in _media(content_type or "")):
        raise HieError(Category.UNSUPPORTED_MEDIA, f"`Content-Type`: expected `{FORM}`")


def preference(prefer: str | None, name: str) -> str | None:
    """The value of one preference of a Prefer header, `handling=lenient` gives `lenient`."""
    for part in (prefer or "").replace(";", ",").split(","):
        key, _, value = part.partition("=")
        if key.strip().lower() == name:
            return value.strip().strip('"').lower()
    return None


def is_lenient(prefer: str | None) -> bool:
    """Whether unknown search parameters are to be passed over."""
    return preference(prefer, "handling") == "lenient"


def etag(version: str) -> str:
    """The ETag of a version."""
    return f'W/"{version}"'


def is_fresh(if_none_match: str | None, version: str) -> bool:
    """Whether the client already has this version."""
    tags = {tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")}
    return f'"{version}"' in tags or "*" in tags


def is_unmodified(if_modified_since: str | None, at_us: int) -> bool:
    """Whether nothing changed since the client looked; what is no date is passed over."""
    try:
        since = parsedate_to_datetime(if_modified_since or "")
    except ValueError:
        return False
    return since.tzinfo is not None and at_us // SECOND_US <= since.timestamp()


def http_date(at_us: int) -> str:
    """A Last-Modified header, `Sat, 31 Jan 2026 09:30:00 GMT`."""
    return format_datetime(EPOCH + timedelta(microseconds=at_us), usegmt=True)


def takes_gzip(accept_encoding: str | None) -> bool:
    """Whether the client takes gzip."""
    return any(
        name in ("gzip", "*") and parameters.get("q") not in ("0", "0.0", "0.00", "0.000")
        for name, parameters in _media(accept_encoding or "")
    )


def _media(header: str) -> Iterator[tuple[str, dict[str, str]]]:
    for part in header.split(","):
        name, *rest = (piece.strip() for piece in part.split(";"))
        parameters = (piece.partition("=") for piece in rest)
        yield name.lower(), {key.strip().lower(): value.strip() for key, _, value in parameters}


def _quality(own: str, wanted: Sequence[tuple[str, dict[str, str]]]) -> float:
    """How much a type is wanted: the most specific range that it is in says."""
    for span in (own, f"{own.partition('/')[0]}/*", ANYTHING, "*"):
        found = [_weight(parameters) for name, parameters in wanted if name == span]
        if found:
            return max(found)
    return 0.0


def _weight(parameters: dict[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 1.0


def _is_json(name: str, parameters: dict[str, str]) -> bool:
    version = parameters.get("fhirversion", "4.0").strip('"')
    is_refused = parameters.get("q", "1").strip("0.") == "" and parameters.get("q") is not None
    return name in ACCEPTED and version in FHIR_VERSIONS and not is_refused
