"""Trouble with identity, by name: what hospitals send, and what must come of it.

Every case runs as messages through journal, map, index and store, on both databases. `ends`
says which records are one person in the end, `asks` what stewards are asked: a doubt is never
hidden, and a stranger never joined.
"""

import asyncio
import threading

import pytest

from tests.support.feeding import feeding
from tests.support.tree import ROOT
from tests.support.trouble import Case, End, Said, play

FAR = "9 Elsewhere Lane^^Springfield^MA^01103"
FAR_PHONE = "^PRN^PH^^1^413^2340199"
SHELTER = ("Abner", "Boris", "Cyril", "Denzel", "Ernst", "Floyd", "Gustav", "Hector", "Igor",
           "Jasper", "Klaus", "Lothar", "Milo", "Nestor", "Otto", "Piotr", "Quentin", "Rufus",
           "Stellan", "Tobias", "Ulrich", "Viktor", "Wendell")  # fmt: skip


CASES = [
    # What hospitals say of their own numbers (ADT^A40)
    Case(
        name="a number merged into itself",
        said=lambda f: (Said(number="A"), Said(number="A", event="A40", retired="A")),
        ends="1",
        asks=("source-conflict",),
    ),
    Case(
        name="a merge and its inverse",
        said=lambda f: (
            Said(number="A"),
            Said(number="B", home=FAR, phone=FAR_PHONE),
            Said(number="A", event="A40", retired="B"),
            Said(number="B", event="A40", retired="A"),
        ),
        ends="1+2",
        asks=("source-conflict",),
    ),
    Case(
        name="merges in a circle",
        said=lambda f: (
            Said(number="A"),
            Said(number="B"),
            Said(number="C"),
            Said(number="A", event="A40", retired="B"),
            Said(number="C", event="A40", retired="A"),
            Said(number="B", event="A40", retired="C"),
        ),
        ends="1+2+3",
        asks=("source-conflict",),
    ),
    Case(
        name="a message for a merged-away number",
        said=lambda f: (
            Said(number="A"),
            Said(number="B"),
            Said(number="A", event="A40", retired="B"),
            Said(number="B", home=FAR),
            Said(number="B", event="R01"),
        ),
        ends="1+2",
    ),
    Case(
        name="two humans merged by mistake",
        said=lambda f: (
            Said(number="A"),
            Said(number="B", given="Peter", sex="M", born="19991224", home=FAR, phone=FAR_PHONE),
            Said(number="A", event="A40", retired="B"),
        ),
        ends="1 2",
        asks=("source-conflict",),
    ),
    Case(
        name="one human under two numbers of one hospital",
        said=lambda f: (Said(number="A"), Said(number="B")),
        ends="1 2",
        asks=("possible",),
    ),
    Case(
        name="one human under two numbers of one hospital that does not say what they are",
        said=lambda f: (
            Said(number="A", type=""),
            Said(number="X", hospital="aurelia"),
            Said(number="B", type=""),
        ),
        ends="1+2 3",
        asks=("possible",),
    ),
    Case(
        name="a merge of two numbers of a hospital that does not say what they are",
        said=lambda f: (
            Said(number="A", type=""),
            Said(number="B", type=""),
            Said(number="A", event="A40", retired="B", type=""),
            Said(number="X", hospital="aurelia"),
        ),
        ends="1+2+3",
    ),
    # Newborns and twins
    Case(
        name="a newborn gets its name",
        said=lambda f: (
            Said(number="MOTHER"),
            Said(number="BABY", given="BABY BOY", born="20250220", sex="M"),
            Said(number="BABY", given="Ivo", born="20250220", sex="M"),
            Said(number="X", hospital="aurelia", given="Ivo", born="20250220", sex="M"),
        ),
        ends="1 2+3",
    ),
    Case(
        name="a newborn without a name in two hospitals",
        said=lambda f: (
            Said(number="BABY", given="BABY BOY", born="20250220", sex="M"),
            Said(number="X", hospital="aurelia", given="BABY BOY", born="20250220", sex="M"),
        ),
        ends="1 2",
        asks=("possible",),
    ),
    Case(
        name="newborn twins A and B",
        said=lambda f: (
            Said(number="A", given="BABY BOY A", born="20250220", sex="M", more={24: "Y", 25: "1"}),
            Said(number="B", given="BABY BOY B", born="20250220", sex="M", more={24: "Y", 25: "2"}),
        ),
        ends="1 2",
        asks=("possible",),
    ),
    Case(
        name="twins",
        said=lambda f: (
            Said(number="A", given="Jayden", born="20150506", sex="M"),
            Said(number="B", hospital="aurelia", given="Kayden", born="20150506", sex="M"),
            Said(number="C", hospital="western", given="Kayden", born="20150506", sex="M"),
        ),
        ends="1 2+3",
        asks=("twin",),
    ),
    Case(
        name="the mother's number on the child",
        said=lambda f: (
            Said(number="MOTHER", ssn=f.ssn),
            Said(number="CHILD", hospital="aurelia", given="Ivo", born="20200220", sex="M",
                 ssn=f.ssn),
        ),
        ends="1 2",
        asks=("possible",),
    ),
    # Names
    Case(
        name="first name and surname exchanged",
        said=lambda f: (
            Said(number="A"),
            Said(number="B", hospital="aurelia", given=f.surname, family="Nora"),
        ),
        ends="1+2",
    ),
    Case(
        name="a married name at the same home",
        said=lambda f: (
            Said(number="A"),
            Said(number="B", hospital="aurelia", family="Castellano"),
        ),
        ends="1+2",
    ),
    Case(
        name="a married name that names the maiden one",
        said=lambda f: (
            Said(number="A"),
            Said(number="B", hospital="aurelia", family="Castellano", alias=f.surname,
                 home=FAR, phone=FAR_PHONE),
        ),
        ends="1+2",
    ),
    Case(
        name="a married name and a move at once",
        said=lambda f: (
            Said(number="A"),
            Said(number="B", hospital="aurelia", family="Castellano", home=FAR, phone=FAR_PHONE),
        ),
        ends="1 2",
        asks=("possible",),
    ),
    Case(
        name="a hyphenated surname",
        said=lambda f: (
            Said(number="A", family=f"{f.surname}-Okonjo"),
            Said(number="B", hospital="aurelia", family=f"{f.surname} Okonjo"),
            Said(number="C", hospital="western", family="Okonjo"),
        ),
        ends="1+2+3",
    ),
    Case(
        name="two surnames, of which one is left out",
        said=lambda f: (
            Said(number="A", family=f"{f.surname} Lopez", phone=""),
            Said(number="B", hospital="aurelia", phone=""),
        ),
        ends="1+2",
    ),
    Case(
        name="a nickname",
        said=lambda f: (
            Said(number="A", given="Elizabeth"),
            Said(number="B", hospital="aurelia", given="Liz"),
        ),
        ends="1+2",
    ),
    Case(
        name="another transliteration",
        said=lambda f: (
            Said(number="A", given="Sergei", sex="M", family=f.surname + "ovskiy"),
            Said(number="B", hospital="aurelia", given="Sergey", sex="M",
                 family=f.surname + "ovsky"),
        ),
        ends="1+2",
    ),
    Case(
        name="letters with marks, and without",
        said=lambda f: (
            Said(number="A", given="Zo\u00eb", family=f"M\u00fcller{f.surname.lower()}"),
            Said(number="B", hospital="aurelia", given="Zoe", family=f"Muller{f.surname.lower()}"),
        ),
        ends="1+2",
    ),
    Case(
        name="senior and junior",
        said=lambda f: (
            Said(number="A", given="John", sex="M", suffix="Sr", born="19500202"),
            Said(number="B", hospital="aurelia", given="John", sex="M", suffix="Jr",
                 born="19750607"),
        ),
        ends="1 2",
        asks=("possible",),
    ),
    Case(
        name="a suffix that contradicts",
        said=lambda f: (
            Said(number="A", given="John", sex="M", suffix="Sr"),
            Said(number="B", hospital="aurelia", given="John", sex="M", suffix="Jr"),
        ),
        ends="1 2",
        asks=("possible",),
    ),
    Case(
        name="an adopted child",
        said=lambda f: (
            Said(number="A", given="Ivo", born="20150506", sex="M"),
            Said(number="B", hospital="aurelia", given="Ivo", born="20150506", sex="M",
                 family="Castellano", home=FAR, phone=FAR_PHONE),
        ),
        ends="1 2",
        asks=("possible",),
    ),
    # Dates and sex
    Case(
        name="month and day exchanged",
        said=lambda f: (
            Said(number="A", born="19710308"),
            Said(number="B", hospital="aurelia", born="19710803"),
        ),
        ends="1+2",
    ),
    Case(
        name="another sex on record",
        said=lambda f: (
            Said(number="A"),
            Said(number="B", hospital="aurelia", sex="M"),
        ),
        ends="1+2",
    ),
    Case(
        name="a new first name and sex in one number",
        said=lambda f: (
            Said(number="A", ssn=f.ssn),
            Said(number="A", given="Noah", sex="M", ssn=f.ssn),
        ),
        ends="1",
        asks=("overlay",),
    ),
    Case(
        name="a new first name and sex at another hospital",
        said=lambda f: (
            Said(number="A", ssn=f.ssn),
            Said(number="B", hospital="aurelia", given="Noah", sex="M", ssn=f.ssn),
        ),
        ends="1 2",
        asks=("twin",),
    ),
    Case(
        name="somebody who has died",
        said=lambda f: (
            Said(number="A"),
            Said(number="A", more={29: "20250228", 30: "Y"}),
            Said(number="B", hospital="aurelia"),
        ),
        ends="1+2",
    ),
    # Homes and telephones of many
    Case(
        name="a couple with one telephone",
        said=lambda f: (
            Said(number="A"),
            Said(number="B", hospital="aurelia", given="Peter", sex="M", born="19680117"),
        ),
        ends="1 2",
    ),
    Case(
        name="a shelter's address and telephone",
        said=lambda f: (
            *(
                Said(number=f"G{n}", given=given, family=f"{given[::-1].title()}man",
                     born=f"19{50 + n}{n % 9 + 1:02d}{n % 18 + 10}", sex="M",
                     home="1 Harbor Shelter^^Boston^MA^02118", phone="^PRN^PH^^1^617^2349000")
                for n, given in enumerate(SHELTER)
            ),
            Said(number="X", hospital="aurelia", given=SHELTER[0], family="Castellano",
                 born="19500110", sex="M", home="1 Harbor Shelter^^Boston^MA^02118",
                 phone="^PRN^PH^^1^617^2349000"),
        ),
        ends=" ".join(str(n) for n in range(1, len(SHELTER) + 2)),
        asks=("possible",),
    ),
    # Nobody
    Case(
        name="two John Does",
        said=lambda f: (
            Said(number="A", given="John", family="Doe", sex="M", born="", home="", phone=""),
            Said(number="B", hospital="aurelia", given="John", family="Doe", sex="M", born="",
                 home="", phone=""),
        ),
        ends="1 2",
    ),
    Case(
        name="test patients",
        said=lambda f: (
            Said(number="A", given="Test", family="ZZTEST", born="", home="", phone=""),
            Said(number="B", hospital="aurelia", given="Test", family="ZZTEST", born="",
                 home="", phone=""),
        ),
        ends="1 2",
    ),
    Case(
        name="test patients of one birth date",
        said=lambda f: (
            Said(number="A", given="Test", family="ZZTEST", home="", phone=""),
            Said(number="B", hospital="aurelia", given="Test", family="ZZTEST", home="", phone=""),
        ),
        ends="1 2",
        asks=("possible",),
    ),
    Case(
        name="every value a default",
        said=lambda f: (
            Said(number="A", given="UNKNOWN", family="UNKNOWN", born="19000101", sex="U",
                 home="UNKNOWN^^^^00000", phone="^PRN^PH^^1^555^5555555", ssn="999999999"),
            Said(number="B", hospital="aurelia", given="UNKNOWN", family="UNKNOWN",
                 born="19000101", sex="U", home="UNKNOWN^^^^00000",
                 phone="^PRN^PH^^1^555^5555555", ssn="999999999"),
        ),
        ends="1 2",
    ),
    # Another human in the same number
    Case(
        name="a number that is used again for somebody else",
        said=lambda f: (
            Said(number="A"),
            Said(number="A", given="Peter", family="Castellano", born="19991224", sex="M"),
            Said(number="A", event="R01", given="Peter", born="19991224", sex="M"),
        ),
        ends="1",
        asks=("overlay",),
    ),
]  # fmt: skip


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def ends(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, End]:
    """All cases played once on a hub of each database."""
    settings = {}
    if request.param == "postgresql":
        settings["HIE_DATABASE_URL"] = str(request.getfixturevalue("module_postgres_url"))
    found: list[dict[str, End]] = []
    home = tmp_path_factory.mktemp("trouble")

    async def played() -> None:
        async with feeding(home, **settings) as fed:
            found.append(await play(fed, CASES))

    # A loop of its own: the tests, which only compare, have theirs.
    thread = threading.Thread(target=lambda: asyncio.run(played()))
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_trouble_ends_well(ends: dict[str, End], case: Case):
    assert ends[case.name] == End(persons=case.ends, asks=case.asks, parked=0)


def test_the_page_says_how_every_case_ends():
    page = (ROOT / "docs" / "identity.md").read_text(encoding="utf-8")
    assert [case.name for case in CASES if _row(case) not in page] == []


def _row(case: Case) -> str:
    ends = case.ends if len(case.ends.split()) < 9 else "all apart"
    asks = ", ".join(f"`{kind}`" for kind in case.asks) or "nothing"
    return f"| {case.name} | {ends} | {asks} |"
