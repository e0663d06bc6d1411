"""HL7 v2.8.2 chapter 2, 2.9.2 and 2.9.3, table 0155: which acknowledgements a message gets."""

import itertools

import pytest

from adapters.hl7v2.modes import Reply, is_wanted, may_be_silent, reply_of
from adapters.wire_policy import Listener, WirePolicy
from hie.kernel.envelope import AckCode

SILENT = WirePolicy()
LISTENING = WirePolicy(application_to=Listener(host="127.0.0.1", port=6661))
AA, AE, AR = AckCode.ACCEPT, AckCode.ERROR, AckCode.REJECT
CA, CE, CR = AckCode.COMMIT_ACCEPT, AckCode.COMMIT_ERROR, AckCode.COMMIT_REJECT

#: MSH-15, MSH-16 -> the code on the connection for AA, AE, AR; and whether an application
#: acknowledgement is asked for that a sender without a listener does not get.
ON_THE_CONNECTION: dict[tuple[str, str], tuple[tuple[AckCode | None, ...], bool]] = {
    ("", ""): ((AA, AE, AR), False),
    ("", "AL"): ((AA, AE, AR), False),
    ("", "NE"): ((AA, AE, AR), False),
    ("XX", "AL"): ((AA, AE, AR), False),
    ("AL", ""): ((CA, CE, CR), False),
    ("AL", "NE"): ((CA, CE, CR), False),
    ("AL", "XX"): ((CA, CE, CR), False),
    ("AL", "AL"): ((CA, CE, CR), True),
    ("AL", "ER"): ((CA, CE, CR), True),
    ("AL", "SU"): ((CA, CE, CR), True),
    ("ER", ""): ((None, CE, CR), False),
    ("ER", "NE"): ((None, CE, CR), False),
    ("ER", "AL"): ((AA, CE, CR), False),
    ("ER", "SU"): ((AA, CE, CR), False),
    ("SU", ""): ((CA, None, None), False),
    ("SU", "NE"): ((CA, None, None), False),
    ("SU", "ER"): ((CA, AE, AR), True),
    ("NE", ""): ((AA, AE, AR), False),
    ("NE", "NE"): ((AA, AE, AR), False),
    ("NE", "AL"): ((AA, AE, AR), False),
    ("NE", "ER"): ((None, AE, AR), False),
    ("NE", "SU"): ((AA, None, None), False),
}


@pytest.mark.parametrize("asked", ON_THE_CONNECTION)
def test_a_sender_without_a_listener_is_answered_on_its_connection(asked: tuple[str, str]):
    codes, is_application_asked = ON_THE_CONNECTION[asked]
    replies = [reply_of(outcome, *asked, SILENT) for outcome in (AA, AE, AR)]
    assert [reply.code for reply in replies] == list(codes)
    assert [reply.is_nowhere for reply in replies] == [is_application_asked, False, False]
    assert not any(reply.application for reply in replies)


#: MSH-15, MSH-16 -> connection and listener for AA, then for AE.
WITH_A_LISTENER: dict[tuple[str, str], tuple[Reply, Reply]] = {
    ("", "AL"): (Reply(code=AA), Reply(code=AE)),
    ("AL", "NE"): (Reply(code=CA), Reply(code=CE)),
    ("AL", ""): (Reply(code=CA), Reply(code=CE)),
    ("AL", "AL"): (Reply(code=CA, application="AL"), Reply(code=CE)),
    ("AL", "ER"): (Reply(code=CA, application="ER"), Reply(code=CE)),
    ("ER", "SU"): (Reply(code=None, application="SU"), Reply(code=CE)),
    ("SU", "AL"): (Reply(code=CA, application="AL"), Reply(code=None)),
    ("NE", "AL"): (Reply(code=None, application="AL"), Reply(code=None, application="AL")),
    ("NE", "NE"): (Reply(code=None), Reply(code=None)),
}


@pytest.mark.parametrize("asked", WITH_A_LISTENER)
def test_a_sender_with_a_listener_gets_the_application_acknowledgement_there(
    asked: tuple[str, str],
):
    replies = tuple(reply_of(outcome, *asked, LISTENING) for outcome in (AA, AE))
    assert replies == WITH_A_LISTENER[asked]


@pytest.mark.parametrize("asked", list(itertools.product(["", "AL", "ER", "SU", "NE"], repeat=2)))
def test_a_source_may_be_kept_in_original_mode(asked: tuple[str, str]):
    policy = WirePolicy(is_original=True, application_to=LISTENING.application_to)
    assert [reply_of(outcome, *asked, policy).code for outcome in (AA, AE, AR)] == [AA, AE, AR]


@pytest.mark.parametrize(
    "asked", list(itertools.product(["", "AL", "ER", "SU", "NE", "??"], repeat=2))
)
@pytest.mark.parametrize("policy", [SILENT, LISTENING])
def test_no_refused_message_is_ever_called_accepted(asked: tuple[str, str], policy: WirePolicy):
    for outcome in (AE, AR):
        code = reply_of(outcome, *asked, policy).code
        assert code is None or not code.is_positive


@pytest.mark.parametrize(
    ("condition", "good", "bad"),
    [("AL", True, True), ("ER", False, True), ("SU", True, False), ("NE", False, False)],
)
def test_the_conditions_of_table_0155(condition: str, good: bool, bad: bool):
    assert is_wanted(condition, is_good=True) == good
    assert is_wanted(condition, is_good=False) == bad


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (("", ""), False),
        (("AL", "NE"), False),
        (("NE", "NE"), False),
        (("ER", "AL"), False),
        (("ER", "NE"), True),
        (("NE", "ER"), True),
    ],
)
def test_only_who_asks_for_errors_alone_may_wait_in_vain(asked: tuple[str, str], expected: bool):
    assert may_be_silent(*asked) is expected


@pytest.mark.parametrize("policy", [SILENT, LISTENING, WirePolicy(is_original=True)])
@pytest.mark.parametrize("asked", ON_THE_CONNECTION)
def test_an_acknowledgement_is_never_acknowledged(asked: tuple[str, str], policy: WirePolicy):
    for outcome in (AA, AE, AR):
        assert reply_of(outcome, *asked, policy, is_answer=True) == Reply(code=None)
