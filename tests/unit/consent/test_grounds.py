"""What disclosures rest on: noted at the recheck, told once they are put on record."""

from consent.enforce import Built, ground_of, recheck
from consent.grounds import MOST_REQUESTS, Grounds
from consent.model import Reason, ReasonKind
from hie.kernel.context import Caller, RequestContext
from tests.support.consents import consent, facts, law, provision, read, request

PERMIT = read(consent(provision("permit")))


def ctx(number=1):
    return RequestContext(caller=Caller(token_id="t"), request_id=f"r{number}", now_us=number)


def test_the_recheck_notes_the_consent_and_version_that_spoke():
    grounds = Grounds()
    noted = []
    leaving = [facts(id="r1"), facts(id="r2", type="Condition")]
    recheck(request("clinic"), leaving, {"p1": PERMIT}, law(), lambda *told: noted.append(told))
    for person, decision in noted:
        grounds.keep(ctx(), person, decision.reasons)
    version = PERMIT[0].version
    assert grounds.told(ctx(), "p1") == {
        "grounds": ["consent-permit"],
        "consents": [f"c1/_history/{version}"],
    }
    assert grounds.told(ctx(), "p2") == {}
    assert grounds.told(ctx(2), "p1") == {}


def test_a_golden_patient_rests_on_what_permits_it_else_on_the_callers_own_record():
    def kinds(asked, directives):
        return [r.kind for r in ground_of(asked, "p1", Built(0, 0), directives, law()).reasons]

    assert kinds(request("clinic"), PERMIT) == [ReasonKind.CONSENT_PERMIT]
    assert kinds(request("clinic", own_sources=frozenset({"feed"})), ()) == [ReasonKind.OWN_SOURCE]


def test_a_programme_that_reads_what_it_recorded_itself_is_no_recipient():
    rules = law()
    part2 = rules.labels.bits(["42CFRPart2"])

    def told(asked, built, directives=()):
        found = ground_of(asked, "p1", built, directives, rules)
        return [one.code for one in found.obligations]

    programme = request("clinic", own_sources=frozenset({"feed"}))
    assert told(programme, Built(part2, 0)) == []
    assert told(programme, Built(part2, part2)) == ["part2-notice"]
    assert told(request("clinic"), Built(0, 0), PERMIT) == []


def test_only_so_many_requests_are_remembered():
    grounds = Grounds()
    for number in range(MOST_REQUESTS + 1):
        grounds.keep(ctx(number), "p1", [Reason(kind=ReasonKind.OWN_RECORD)])
    assert grounds.told(ctx(0), "p1") == {}
    assert grounds.told(ctx(1), "p1") == {"grounds": ["own-record"]}
