"""The route table, and what is made of it: roles, OpenAPI document, page, words."""

import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from hie.auth.model import STAFF_ROLES
from hie.flow.dossier import CHOICES
from hie.kernel.errors import Category
from hie.staff import openapi, page, problem
from hie.staff.api import ROUTES
from hie.staff.choices import DIRECT
from hie.staff.model import ROLES, Needs
from hie.staff.schemas import SCHEMAS
from mpi.levels import Veto
from mpi.model import DecisionKind, TaskKind
from mpi.words import load_words
from tests.support.tree import ROOT

DOCUMENT = json.loads(openapi.document(ROUTES))
WORDS = load_words(ROOT / "config" / "mpi")
CHANGES = [route for route in ROUTES if {Needs.KEY, Needs.VERSION} & set(route.needs)]


def test_the_roles_are_those_that_tokens_may_have():
    assert STAFF_ROLES == ROLES
    assert all(route.role in ROLES[route.area] for route in ROUTES)


def test_every_route_has_a_name_an_address_and_a_schema_of_its_own():
    assert len({route.name for route in ROUTES}) == len(ROUTES)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert {route.answer for route in ROUTES} <= set(SCHEMAS)


def test_whoever_changes_something_has_more_than_the_least_role_and_is_named_by_the_token():
    assert CHANGES
    for route in CHANGES:
        assert route.method == "POST"
        assert route.role in ROLES[route.area][1:]
        assert route.is_personal


def test_every_decision_says_why_and_happens_once():
    once = [route for route in ROUTES if Needs.KEY in route.needs]
    of_stewards = {route.name for route in once if route.area == "identity"}
    assert of_stewards == {"decideTask", "decide", "undo", "startBatch", "undoBatch"}
    # What a clerk files is a paper; what an officer does is a decision.
    for route in [each for each in once if each.role != "clerk"]:
        (reason,) = [field for field in route.body if field.name == "reason"]
        assert reason.is_required


def test_no_address_takes_what_names_a_patient():
    for route in ROUTES:
        names = {field.name for field in route.query} | set(re.findall(r"\{(\w+)\}", route.path))
        assert not names & {"name", "given", "family", "birth_date", "system", "value", "ssn"}


def test_the_document_lists_every_route_with_its_scope_and_refusals():
    assert DOCUMENT["openapi"] == "3.1.0"
    for route in ROUTES:
        told = DOCUMENT["paths"][route.path][route.method.lower()]
        assert told["operationId"] == route.name
        assert told["security"] == [{"bearer": [f"staff/{route.area}.{route.role}"]}]
        assert {"400", "401", "403"} <= set(told["responses"])
        in_path = {p["name"] for p in told["parameters"] if p["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", route.path))
        assert ("428" in told["responses"]) is (Needs.VERSION in route.needs)


def test_every_reference_of_the_document_leads_somewhere():
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(DOCUMENT)))
    assert named == named & set(DOCUMENT["components"]["schemas"])
    assert "Problem" in named


def test_the_table_of_refusals_covers_every_category():
    assert set(problem.TABLE) == set(Category)
    assert len({row.name for row in problem.TABLE.values()}) == len(Category)


def test_there_are_words_for_every_code_a_steward_reads():
    assert {kind.value for kind in TaskKind} <= set(WORDS.questions)
    assert {kind.value for kind in DecisionKind} <= set(WORDS.decisions)
    assert {veto.value for veto in Veto} <= set(WORDS.vetoes)
    offered = {choice for kind in CHOICES.values() for choice in kind} | set(DIRECT)
    assert offered <= set(WORDS.choices)
    assert set(CHOICES) == set(TaskKind)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if "href" in found else []


@pytest.fixture(name="shown")
def _shown() -> _Page:
    parsed = _Page()
    parsed.feed(page.html(ROUTES).decode())
    return parsed


def test_the_page_runs_nothing_and_loads_nothing(shown: _Page):
    assert not shown.tags & {"script", "img", "link", "iframe", "form", "object"}
    assert not {"style", "src"} & shown.attributes
    assert not any(name.startswith("on") for name in shown.attributes)
    policy = page.policy(page.html(ROUTES))
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_the_page_can_be_read_in_order(shown: _Page):
    assert shown.headings[0] == 1
    steps = [after - before for before, after in pairwise(shown.headings)]
    assert max(steps) == 1  # no level is skipped
    assert len(shown.ids) == len(set(shown.ids))
    anchors = {link[1:] for link in shown.links if link.startswith("#")}
    assert anchors <= set(shown.ids)
    assert {row.name for row in problem.TABLE.values()} <= set(shown.ids)  # `type` leads here
    assert {route.name for route in ROUTES} <= set(shown.ids)
    assert {"main", "nav", "caption"} <= shown.tags
