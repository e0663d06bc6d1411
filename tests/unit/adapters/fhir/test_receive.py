"""FHIR writes: journaled, carried out once, answered again on a repeat."""

import asyncio
import hashlib

import pytest

from adapters.fhir.body import Limits
from adapters.fhir.bundle import Planner
from adapters.fhir.plan import PlanKind, PlanSettings
from adapters.fhir.receive import Answer, FhirCall, FhirReceiver, read_plan, require_json
from adapters.port import Journaled, Wire
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId, SourceId

SOURCE = SourceId("ghh")
CONTEXT = RequestContext(caller=Caller(token_id="t"), request_id="hub-made", now_us=1)
JSON = "application/fhir+json"
PLANNER = Planner(PlanSettings(limits=Limits(body_bytes=1_000)))


class MemoryJournal:
    """The journal's rule in memory: an accepted repeat gets the first answer."""

    def __init__(self):
        self.entries = []
        self.answers = {}

    async def write(self, entry):
        key = (entry.source_id, entry.control_id, entry.content_hash)
        if entry.is_accepted and key in self.answers:
            message_id, answer = self.answers[key]
            return Journaled(message_id=message_id, answer=answer, is_repeat=True)
        self.entries.append(entry)
        message_id = MessageId(len(self.entries))
        if entry.is_accepted:
            self.answers[key] = (message_id, b"")
        return Journaled(message_id=message_id, answer=b"")

    def settle(self, message_id, answer):
        for key, (known, _) in self.answers.items():
            if known == message_id:
                self.answers[key] = (known, answer)


class Flow:
    """Carries plans out by counting them; fails or waits when told to."""

    def __init__(self, journal):
        self.journal = journal
        self.plans = []
        self.fails = False
        self.gate = None

    async def carry_out(self, message_id, source_id, plan, context, returns=""):
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            raise HieError(Category.BUSINESS_RULE, "no")
        self.plans.append(plan)
        answer = Answer(status=201, body=b"{}", headers={"ETag": f'W/"{len(self.plans)}"'})
        self.journal.settle(message_id, answer.encode())
        return answer


@pytest.fixture
def journal():
    return MemoryJournal()


@pytest.fixture
def flow(journal):
    return Flow(journal)


@pytest.fixture
def receiver(journal, flow):
    return FhirReceiver(journal, PLANNER, flow)


def call(**change):
    return FhirCall(
        **{
            "method": "POST",
            "target": "Patient",
            "body": b'{"resourceType":"Patient"}',
            "content_type": JSON,
            "request_id": "r1",
            **change,
        }
    )


async def test_a_write_is_journaled_and_carried_out(receiver, journal, flow):
    answer = await receiver.take(call(), SOURCE, CONTEXT)
    assert (answer.status, answer.headers) == (201, {"ETag": 'W/"1"'})
    (entry,) = journal.entries
    assert (entry.source_id, entry.wire, entry.control_id) == (SOURCE, Wire.FHIR, "r1")
    assert (entry.trigger, entry.is_accepted) == ("POST Patient", True)
    assert entry.content_hash == hashlib.sha256(entry.payload).digest()
    assert flow.plans[0].kind is PlanKind.SINGLE


async def test_a_repeat_gets_the_first_answer_and_does_nothing(receiver, journal, flow):
    first = await receiver.take(call(), SOURCE, CONTEXT)
    assert await receiver.take(call(), SOURCE, CONTEXT) == first
    assert (len(flow.plans), len(journal.entries)) == (1, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "r2"},
        {"body": b'{"resourceType":"Patient","active":true}'},
        {"if_none_exist": "identifier=s|1"},
        {"method": "PUT", "target": "Patient/a", "body": b'{"resourceType":"Patient","id":"a"}'},
    ],
    ids=["request id", "body", "condition", "address"],
)
async def test_another_request_id_or_other_content_is_another_write(receiver, flow, change):
    await receiver.take(call(), SOURCE, CONTEXT)
    await receiver.take(call(**change), SOURCE, CONTEXT)
    assert len(flow.plans) == 2


async def test_another_sources_request_id_is_another_write(receiver, flow):
    await receiver.take(call(), SOURCE, CONTEXT)
    await receiver.take(call(), SourceId("other"), CONTEXT)
    assert len(flow.plans) == 2


async def test_without_a_request_id_every_write_is_new(receiver, flow):
    for _ in range(2):
        await receiver.take(call(request_id=""), SOURCE, CONTEXT)
    assert len(flow.plans) == 2


async def test_a_write_that_cannot_be_read_is_journaled_as_refused_and_not_carried_out(
    receiver, journal, flow
):
    for body in (b"junk", b'{"resourceType":"Observation"}'):
        with pytest.raises(HieError) as caught:
            await receiver.take(call(body=body), SOURCE, CONTEXT)
        assert caught.value.category is Category.INVALID
    assert [e.is_accepted for e in journal.entries] == [False, False]
    assert flow.plans == []


async def test_a_faulty_entry_refuses_a_transaction_but_not_a_batch(receiver, flow):
    for kind, is_taken in (("transaction", False), ("batch", True)):
        body = f'{{"resourceType":"Bundle","type":"{kind}","entry":[{{}}]}}'.encode()
        if is_taken:
            await receiver.take(call(target="", body=body), SOURCE, CONTEXT)
        else:
            with pytest.raises(HieError):
                await receiver.take(call(target="", body=body), SOURCE, CONTEXT)
    assert [p.kind for p in flow.plans] == [PlanKind.BATCH]


async def test_a_body_over_the_limit_is_refused_before_it_is_journaled(receiver, journal):
    with pytest.raises(HieError) as caught:
        await receiver.take(call(body=b" " * 1_001), SOURCE, CONTEXT)
    assert caught.value.category is Category.TOO_LARGE
    assert journal.entries == []


async def test_the_same_write_at_the_same_time_is_asked_to_come_back(receiver, flow):
    flow.gate = asyncio.Event()
    first = asyncio.create_task(receiver.take(call(), SOURCE, CONTEXT))
    await asyncio.sleep(0.01)
    with pytest.raises(HieError) as caught:
        await receiver.take(call(), SOURCE, CONTEXT)
    assert caught.value.category is Category.BUSY
    flow.gate.set()
    assert (await first).status == 201
    assert len(flow.plans) == 1


async def test_a_write_whose_answer_a_crash_took_is_carried_out_by_its_repeat(receiver, flow):
    flow.fails = True  # stands for the crash: journaled, no answer stored
    with pytest.raises(HieError):
        await receiver.take(call(), SOURCE, CONTEXT)
    flow.fails = False
    assert (await receiver.take(call(), SOURCE, CONTEXT)).status == 201
    assert len(flow.plans) == 1


@pytest.mark.parametrize(
    "declared",
    [
        JSON,
        "application/json",
        "application/fhir+json; charset=utf-8",
        'application/fhir+json; fhirVersion=4.0; charset="UTF-8"',
        "Application/FHIR+JSON",
    ],
)
def test_fhir_json_in_utf_8_is_taken(declared):
    require_json(call(content_type=declared))


@pytest.mark.parametrize(
    "declared",
    ["", "application/fhir+xml", "text/plain", "application/fhir+json; charset=latin-1", "junk"],
)
def test_anything_else_is_an_unsupported_medium(declared):
    with pytest.raises(HieError) as caught:
        require_json(call(content_type=declared))
    assert caught.value.category is Category.UNSUPPORTED_MEDIA


async def test_a_delete_needs_no_content_type(receiver, flow):
    gone = call(method="DELETE", target="Patient/a", body=b"", content_type="")
    assert (await receiver.take(gone, SOURCE, CONTEXT)).status == 201


@pytest.mark.parametrize(
    ("declared", "body", "hint"),
    [
        ("application/json-patch+json", b'{"status":"final"}', "a list of operations"),
        ("application/merge-patch+json", b'[{"op":"remove","path":"/a"}]', "an object"),
    ],
)
def test_a_patch_is_of_the_kind_it_is_declared_as(declared, body, hint):
    with pytest.raises(HieError, match=hint) as caught:
        read_plan(
            call(method="PATCH", target="Patient/a", content_type=declared, body=body), PLANNER
        )
    assert caught.value.category is Category.INVALID


def test_what_is_journaled_can_be_planned_again():
    sent = call(method="PUT", target="Patient/a", body=b'{"resourceType":"Patient","id":"a"}')
    again = FhirCall.from_payload(sent.payload())
    assert read_plan(again, PLANNER) == read_plan(sent, PLANNER)
    assert (again.method, again.target, again.body) == ("PUT", "Patient/a", sent.body)


def test_an_answer_comes_back_as_it_was_stored():
    answer = Answer(status=200, body=b"line\nline", headers={"Location": "Patient/a"})
    assert Answer.decode(answer.encode()) == answer
