"""https://hl7.org/fhir/R4/bundle.html"""

import json

from fhir_server.search.bundle import history, link, next_link, searchset
from fhir_server.validate import validate
from hie.kernel.errors import Issue
from hie.store.query import Page, Served

BASE = "https://hub.test/fhir"


def served(resource_id: str, version: str = "1", *, is_deleted: bool = False) -> Served:
    body = f'{{"resourceType":"Flag","id":"{resource_id}","status":"active"'
    body += ',"code":{"text":"x"},"subject":{"reference":"Patient/p"}}'
    return Served(
        type="Flag",
        id=resource_id,
        version=version,
        last_updated_us=1_769_851_800_000_000,
        body=b"" if is_deleted else body.encode(),
        is_deleted=is_deleted,
    )


def test_matches_and_what_they_refer_to_are_told_apart():
    page = Page(matches=(served("a"),), included=(served("b"),), total=1)
    bundle = json.loads(searchset(page, base=BASE, self_url="s", next_url="n"))
    assert validate(bundle) == ()
    assert bundle["total"] == 1
    assert bundle["link"] == [{"relation": "self", "url": "s"}, {"relation": "next", "url": "n"}]
    assert [(e["fullUrl"], e["search"]["mode"]) for e in bundle["entry"]] == [
        (f"{BASE}/Flag/a", "match"),
        (f"{BASE}/Flag/b", "include"),
    ]


def test_an_empty_page_has_no_entry_and_an_unasked_total_is_absent():
    bundle = json.loads(searchset(Page(), base=BASE, self_url="s"))
    assert validate(bundle) == ()
    assert "entry" not in bundle
    assert "total" not in bundle
    assert json.loads(searchset(Page(total=0), base=BASE, self_url="s"))["total"] == 0


def test_warnings_are_an_entry_of_their_own():
    warning = Issue(text="`cod`: no such parameter", severity="warning", code="not-supported")
    page = Page(matches=(served("a"),))
    bundle = json.loads(searchset(page, base=BASE, self_url="s", warnings=[warning]))
    assert validate(bundle) == ()
    assert bundle["entry"][-1]["search"]["mode"] == "outcome"
    assert bundle["entry"][-1]["resource"]["issue"][0]["severity"] == "warning"


def test_a_history_says_how_each_version_came_to_be():
    page = Page(matches=(served("a", "3", is_deleted=True), served("a", "2"), served("a", "1")))
    bundle = json.loads(history(page, base=BASE, self_url="s"))
    assert validate(bundle) == ()
    assert [e["request"]["method"] for e in bundle["entry"]] == ["DELETE", "PUT", "POST"]
    assert [e["response"]["status"] for e in bundle["entry"]] == ["204", "200", "201"]
    assert ["resource" in e for e in bundle["entry"]] == [False, True, True]
    assert bundle["entry"][1]["response"]["etag"] == 'W/"2"'


def test_bodies_go_out_as_they_are():
    body = b'{"resourceType":"Flag","id":"a","x":72.50}'
    page = Page(matches=(Served(type="Flag", id="a", version="1", last_updated_us=0, body=body),))
    assert body in searchset(page, base=BASE, self_url="s")


def test_links_escape_what_a_url_cannot_hold():
    url = link(BASE, "Patient", [("name", "Ash & Co"), ("identifier", "urn:x|1,2")])
    assert url == f"{BASE}/Patient?name=Ash%20%26%20Co&identifier=urn:x|1,2"
    assert link(BASE, "Patient") == f"{BASE}/Patient"
    assert next_link(BASE, "Patient", "t0k-_") == f"{BASE}/Patient?_cursor=t0k-_"
