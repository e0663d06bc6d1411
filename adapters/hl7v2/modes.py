"""Which acknowledgements a message gets: original and enhanced mode. Pure.

The table, `*` for the letter that the outcome gives (accepted, error, reject):

    MSH-15       on the connection            MSH-16, from the sender's own listener
    empty        A*                           -
    AL           C*                           } AL: AA or AE, ER: AE alone, SU: AA alone, after the
    ER           CE, CR only                  } message was worked off; NE, empty: none
    SU           CA only                      }
    NE           A* as MSH-16 says, A* too where it says NE; with a listener nothing

A message that was refused has no application acknowledgement beside its CE or CR. Where
MSH-16 asks for one and the sender's file names no listener, it takes the place of a CA, CE or
CR that MSH-15 does not ask for; beside one it is not sent, for a second frame on the sender's
connection would be taken for the answer to its next message. The finding
`application-ack-nowhere` and MSA-3 say so. MLLP senders wait for an answer to each message:
only `ER` or `SU`, said in so many words, is answered with silence.
An acknowledgement, MSH-9.1 ACK, is never acknowledged, whatever it asks for and whatever
became of it: two receivers would answer each other for ever.
Spec: HL7 v2.8.2 chapter 2, 2.9.2 (original mode is MSH-15 NE, MSH-16 AL), 2.9.3 (enhanced
mode); table 0155.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from adapters.wire_policy import WirePolicy
from hie.kernel.envelope import AckCode

ALWAYS: Final = "AL"
ERRORS: Final = "ER"
SUCCESSES: Final = "SU"
NEVER: Final = "NE"
_CONDITIONS: Final = frozenset({ALWAYS, ERRORS, SUCCESSES, NEVER})
_COMMIT: Final = MappingProxyType(
    {
        AckCode.ACCEPT: AckCode.COMMIT_ACCEPT,
        AckCode.ERROR: AckCode.COMMIT_ERROR,
        AckCode.REJECT: AckCode.COMMIT_REJECT,
    }
)


_ANYBODY: Final = WirePolicy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a sender is to get for a message.

    Attributes:
        code: MSA-1 of the answer on the connection; None = no answer.
        application: condition, `AL`, `ER` or `SU`, of the application acknowledgement that
            goes to the sender's listener; empty = none.
        is_nowhere: one was asked for and there is no listener to send it to.
    """

    code: AckCode | None
    application: str = ""
    is_nowhere: bool = False


def is_wanted(condition: str, *, is_good: bool) -> bool:
    """Whether table 0155's condition asks for an acknowledgement of that outcome."""
    return condition in (ALWAYS, SUCCESSES if is_good else ERRORS)


def may_be_silent(accept: str, application: str) -> bool:
    """Whether a message that is accepted may get no answer, as its MSH-15 and -16 ask."""
    reply = reply_of(AckCode.ACCEPT, accept, application, _ANYBODY)
    return reply.code is None


def reply_of(
    outcome: AckCode,
    accept: str,
    application: str,
    policy: WirePolicy,
    *,
    is_answer: bool = False,
) -> Reply:
    """The reply to a message.

    Args:
        outcome: AA, AE or AR, as original mode would say it.
        accept: MSH-15. What table 0155 does not know counts as empty: who asks for nothing
            that can be understood is answered, never kept waiting.
        application: MSH-16; what table 0155 does not know counts as NE.
        policy: of the sender.
        is_answer: the message is an acknowledgement itself.
    """
    if is_answer:
        return Reply(code=None)
    if policy.is_original or accept not in _CONDITIONS:
        return Reply(code=outcome)
    if application not in _CONDITIONS:
        application = NEVER
    has_listener = policy.application_to is not None
    is_good = outcome.is_positive
    if not has_listener and not is_wanted(accept, is_good=is_good):
        is_told = accept == application == NEVER or is_wanted(application, is_good=is_good)
        return Reply(code=outcome if is_told else None)
    code = _COMMIT[outcome] if is_wanted(accept, is_good=is_good) else None
    if application == NEVER or not (is_good or accept == NEVER):
        return Reply(code=code)
    if has_listener:
        return Reply(code=code, application=application)
    return Reply(code=code, is_nowhere=True)
