"""One request and its answer as values, and the collaborators a handler is given.

Handlers know nothing of sockets: `fhir_server.routes` makes the `Call` and sends the
`Answer`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fhir_server.emergencies import Emergencies
from fhir_server.exports import Exports
from fhir_server.previews import Previews
from fhir_server.relationships import Relationships
from fhir_server.search.compartments import Compartments
from fhir_server.search.cursor import Sealer
from fhir_server.search.subset import Subsets
from fhir_server.settings import FhirSettings
from fhir_server.summary.plan import SummaryPlan
from fhir_server.terminology.vocabulary import Vocabulary
from fhir_server.trail import Accountings, AuditTrail
from hie.identities import Candidates, CrossReferences
from hie.kernel.context import RequestContext
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.store.index import SearchIndex
from hie.store.portion import Choose, Marks, Portion, Wanted
from hie.store.query import Page, Query, Served
from hie.subscriptions.panels import Loaded
from hie.subscriptions.panels import Row as PanelRow


class Door(Protocol):
    """The one way to patient data: decides, reads, audits, then returns (`hie.access`)."""

    async def read(self, ctx: RequestContext, type_name: str, resource_id: str, /) -> Served:
        """The current version; NOT_FOUND when hidden or absent, GONE when deleted."""
        ...

    async def vread(
        self, ctx: RequestContext, type_name: str, resource_id: str, version: str, /
    ) -> Served:
        """One version; NOT_FOUND when hidden or absent, GONE when that version is a deletion."""
        ...

    async def history(
        self,
        ctx: RequestContext,
        type_name: str,
        resource_id: str,
        count: int,
        cursor: str | None,
        since_us: int,
        /,
    ) -> Page:
        """Versions, newest first; deletions as `Served.is_deleted`."""
        ...

    async def history_of_type(
        self, ctx: RequestContext, type_name: str, count: int, cursor: str | None, since_us: int, /
    ) -> Page:
        """The same of all resources of a type; of persons as they are now."""
        ...

    async def search(self, ctx: RequestContext, query: Query, /) -> Page:
        """One page of what the caller may see."""
        ...

    async def search_types(self, ctx: RequestContext, queries: Sequence[Query], /) -> Page:
        """The same over several types: one query each."""
        ...


class Records(Protocol):
    """The way to whole records, through the same door (`hie.record`)."""

    async def everything(
        self, ctx: RequestContext, person_id: str, portion: Portion, cursor: str | None, /
    ) -> Page:
        """The person's compartment and what it refers to, once each."""
        ...

    async def visit(
        self, ctx: RequestContext, encounter_id: str, portion: Portion, cursor: str | None, /
    ) -> Page:
        """The Encounter, its Patient, what refers to it and what those refer to, once each."""
        ...

    async def chosen(
        self, ctx: RequestContext, operation: str, query: Query, choose: Choose, /
    ) -> Page:
        """Of what a search finds for the caller, what `choose` keeps."""
        ...

    async def marks(self, ctx: RequestContext, type_name: str, /) -> Marks:
        """What is in `meta` of the resources of a type that the caller may see."""
        ...

    async def composed(
        self,
        ctx: RequestContext,
        operation: str,
        person_id: str,
        types: frozenset[str],
        choose: Choose,
        wanted: Wanted,
        /,
    ) -> Page:
        """The golden Patient, what of the compartment `choose` keeps, and what those need."""
        ...


class Identities(Protocol):
    """The one way to who somebody is: decides, reads, audits, then returns (`hie.identities`)."""

    async def identify_candidates(
        self, ctx: RequestContext, patient: FhirJson, /, *, count: int, only_certain: bool
    ) -> Candidates:
        """The persons whom a description may mean; BUSINESS_RULE when it says too little."""
        ...

    async def cross_references(
        self, ctx: RequestContext, identifier: SourceIdentifier, targets: Sequence[str], /
    ) -> CrossReferences:
        """The other identifiers of whoever carries one."""
        ...

    async def knows_domains(self, ctx: RequestContext, systems: Sequence[str], /) -> bool:
        """Whether each of these assigning authorities is known, as far as the caller may see."""
        ...


class Notices(Protocol):
    """What an answer must carry (`consent.notices`), and whose records may be incomplete."""

    async def of(self, ctx: RequestContext, /) -> Sequence[Issue]:
        """Notices of the law on what this request read, then a warning for each late source."""
        ...

    def headers(self, ctx: RequestContext, /) -> Mapping[str, str]:
        """The notices of the law on what was read for this request, as headers."""
        ...


class NoNotices:
    """Every source is on time, and nothing that leaves obliges anybody."""

    async def of(self, ctx: RequestContext, /) -> Sequence[Issue]:
        """Nothing."""
        return ()

    def headers(self, ctx: RequestContext, /) -> Mapping[str, str]:
        """None."""
        return {}


class KeptSubscription(Protocol):
    """A subscription as a resource, and what HTTP says of it."""

    @property
    def id(self) -> str:
        """The hub's id."""
        ...

    @property
    def version(self) -> str:
        """`meta.versionId`."""
        ...

    @property
    def updated_us(self) -> int:
        """`meta.lastUpdated`, in microseconds."""
        ...

    @property
    def resource(self) -> FhirJson:
        """The resource, without secrets."""
        ...


class Subscriptions(Protocol):
    """Subscriptions of callers (`hie.subscriptions`); another's are NOT_FOUND."""

    async def create(self, ctx: RequestContext, resource: FhirJson, /) -> KeptSubscription:
        """A new one; BUSINESS_RULE with one issue per fault."""
        ...

    async def update(
        self, ctx: RequestContext, name: str, resource: FhirJson, if_match: str, /
    ) -> KeptSubscription:
        """New terms; STALE when `if_match` names another version than the current."""
        ...

    async def delete(self, ctx: RequestContext, name: str, /) -> None:
        """End one."""
        ...

    async def read(self, ctx: RequestContext, name: str, /) -> KeptSubscription:
        """One of the caller's."""
        ...

    async def mine(self, ctx: RequestContext, /) -> Sequence[KeptSubscription]:
        """All of the caller's."""
        ...

    async def status(
        self, ctx: RequestContext, names: Sequence[str], statuses: Sequence[str], /
    ) -> bytes:
        """The searchset of `$status`."""
        ...

    async def status_of(self, ctx: RequestContext, name: str, /) -> bytes:
        """The same of one."""
        ...

    async def events(
        self, ctx: RequestContext, name: str, since: int, until: int | None, content: str, /
    ) -> bytes:
        """The notification of `$events`, on record before it is given."""
        ...

    async def bind(self, ctx: RequestContext, names: Sequence[str], /) -> FhirJson:
        """The Parameters of `$get-ws-binding-token`."""
        ...

    def told_topics(self) -> Sequence[FhirJson]:
        """The topics there are, as Basic resources."""
        ...

    async def load_panel(
        self, ctx: RequestContext, rows: Sequence[PanelRow], title: str, group_id: str, /
    ) -> Loaded:
        """Make rows about people the members of a Group; each hears what became of it."""
        ...

    async def undo_panel(self, ctx: RequestContext, group_id: str, /) -> int:
        """Take the last load of a Group back; how many members it has again."""
        ...


class Judge(Protocol):
    """Says what is wrong with a resource (`fhir_server.judge`)."""

    def issues(self, resource: FhirJson, profiles: Sequence[str] = ()) -> Sequence[Issue]:
        """Every fault, also by the profiles named; none for a sound resource."""
        ...


class Inner(Protocol):
    """Answers the reads inside of a Bundle (`fhir_server.inner`)."""

    def call(self, edge: "Edge", outer: "Call", request: FhirJson, /) -> object:
        """Make sure that a read is admitted; NOT_FOUND or FORBIDDEN where it is not."""
        ...

    async def answer(self, edge: "Edge", outer: "Call", request: FhirJson, /) -> "Answer":
        """What `Bundle.entry.request` would get by itself."""
        ...


class WriteAnswer(Protocol):
    """What a write came to, ready to be sent."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """ETag, Location, Last-Modified."""
        ...

    @property
    def body(self) -> bytes:
        """The resource, Bundle or OperationOutcome; may be empty."""
        ...


class FhirWriter(Protocol):
    """Takes what sources write: journals, processes, answers after commit (`hie.flow`)."""

    async def write(  # noqa: PLR0913, PLR0917 - the parts of an HTTP request
        self,
        ctx: RequestContext,
        interaction: str,
        type_name: str | None,
        resource_id: str | None,
        body: bytes,
        headers: Mapping[str, str],
        query: tuple[tuple[str, str], ...],
        returns: str,
        /,
    ) -> WriteAnswer:
        """Process a body.

        Args:
            ctx: the caller has a write scope and at least one source; the scope of each entry
                of a Bundle is still to be checked.
            interaction: `create`, `update`, `patch`, `delete`, `transaction` (a Bundle; its type
                says whether it is a batch).
            type_name: of the URL; None for a Bundle.
            resource_id: of the URL; None for a create and where a condition takes its place.
            body: empty for a delete; else JSON bytes as received, decompressed; at most the
                configured size.
            headers: `If-Match`, `If-None-Match`, `If-None-Exist`, `Content-Type`,
                `X-Request-Id` as the client sent them; names compare without case.
            query: the condition of an update, patch or delete.
            returns: what the client prefers in the answer: `representation`,
                `operationoutcome`, or "" for what is usual.

        Raises:
            HieError: with one Issue per fault.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One FHIR request.

    Attributes:
        interaction: FHIR's name of it, `search-type`.
        method: of HTTP; a HEAD is answered as the GET it stands for.
        type: resource type of the URL.
        id: of the URL.
        compartment: of the URL: the type of the resource that `id` is of, where it has two.
        version: of the URL.
        params: query and form parameters in the order given.
        headers: names compare without case.
    """

    ctx: RequestContext
    interaction: str
    method: str = "GET"
    type: str = ""
    id: str = ""
    compartment: str = ""
    version: str = ""
    params: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One FHIR response.

    Attributes:
        body: an empty one has no content type.
        content_type: "" = FHIR JSON.
        stream: the body in parts, where it is too large to be held; `body` is then empty.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    content_type: str = ""
    stream: AsyncIterator[bytes] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What the handlers work with."""

    door: Door
    records: Records
    identities: Identities
    writer: FhirWriter
    inner: Inner
    index: SearchIndex
    settings: FhirSettings
    sealer: Sealer
    subsets: Subsets
    compartments: Compartments
    vocabulary: Vocabulary
    judge: Judge
    notices: Notices
    summary: SummaryPlan
    offered: Subscriptions | None = None
    exports: Exports | None = None
    relationships: Relationships | None = None
    emergencies: Emergencies | None = None
    trail: AuditTrail | None = None
    accountings: Accountings | None = None
    previews: Previews | None = None

    @property
    def subscriptions(self) -> Subscriptions:
        """The subscriptions that are kept here.

        Raises:
            HieError: UNSUPPORTED where none are.
        """
        if self.offered is None:
            raise HieError(Category.UNSUPPORTED, "this server keeps no subscriptions")
        return self.offered
