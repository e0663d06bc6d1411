"""From ingredients and concepts to what contains or specialises them.

The release files here are made up: their form is RxNorm's and SNOMED's, their content is not.
"""

from pathlib import Path

import pytest

from consent.closures.files import keep, put_back
from consent.closures.rxnorm import compile_rxnorm, load_rules
from consent.closures.snomed import compile_snomed
from consent.labels import Labeller, packages
from consent.loaded import with_loaded
from consent.settings import load_sensitivity
from hie.kernel.errors import Category, HieError
from tests.support.consents import CONFIG, coded

LISTS = load_sensitivity(CONFIG / "sensitivity")
LABELLER = Labeller(LISTS)
RULES = load_rules(CONFIG / "sensitivity" / "closures.toml")
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
NDC = "http://hl7.org/fhir/sid/ndc"

#: code, term type, name; 1433868 is on the list, 9001 is known by its name alone.
CONCEPTS = [
    ("1433868", "IN", "dolutegravir"),
    ("68244", "IN", "lamivudine"),
    ("9001", "IN", "cabotegravir"),
    ("85762", "IN", "ritonavir"),
    ("9002", "IN", "nirmatrelvir"),
    ("9003", "IN", "lisinopril"),
    ("9010", "MIN", "dolutegravir / lamivudine"),
    ("9011", "SCDC", "dolutegravir 50 MG"),
    ("9012", "SCD", "dolutegravir 50 MG / lamivudine 300 MG Oral Tablet"),
    ("9013", "BN", "Twofold"),
    ("9014", "SBD", "dolutegravir 50 MG / lamivudine 300 MG Oral Tablet [Twofold]"),
    ("9015", "BPCK", "a pack of them"),
    ("9016", "SCD", "an injection"),
    ("9017", "SCD", "nirmatrelvir 150 MG / ritonavir 100 MG"),
    ("9018", "SCD", "lisinopril 10 MG Oral Tablet"),
    ("9019", "DF", "Oral Tablet"),
    ("9020", "SCD", "ritonavir 100 MG Oral Tablet"),
]
#: one, relation, other; either way round, as a release has both.
RELATIONS = [
    ("1433868", "has_part", "9010"),
    ("68244", "has_part", "9010"),
    ("1433868", "has_ingredient", "9011"),
    ("9012", "constitutes", "9011"),
    ("9010", "has_ingredients", "9012"),
    ("1433868", "has_tradename", "9013"),
    ("9013", "ingredient_of", "9014"),
    ("9014", "tradename_of", "9012"),
    ("9014", "contained_in", "9015"),
    ("9001", "has_ingredient", "9016"),
    ("9002", "has_ingredient", "9017"),
    ("85762", "has_ingredient", "9017"),
    ("85762", "has_ingredient", "9020"),
    ("9003", "has_ingredient", "9018"),
    ("9019", "has_dose_form", "9012"),
    ("9019", "dose_form_of", "9018"),
    ("9003", "mapped_to", "9012"),
]


def release(folder: Path) -> Path:
    concepts = [
        [code, "ENG", *[""] * 9, "RXNORM", tty, code, name, "", "N", ""]
        for code, tty, name in CONCEPTS
    ]
    relations = [
        [one, "", "CUI", "RN", other, "", "CUI", name, "", "", "RXNORM", *[""] * 5]
        for one, name, other in RELATIONS
    ]
    facts = [
        ["9014", *[""] * 7, "NDC", "RXNORM", "00490023230", "N", ""],
        ["9018", *[""] * 7, "NDC", "RXNORM", "00490023231", "N", ""],
        ["9014", *[""] * 7, "RXN_STRENGTH", "RXNORM", "50 MG", "N", ""],
    ]
    files = [("CONSO", concepts), ("REL", relations), ("SAT", facts)]
    (folder / "rrf").mkdir(parents=True)
    for name, lines in files:
        text = "".join("|".join(line) + "|\n" for line in lines)
        (folder / "rrf" / f"RXN{name}.RRF").write_text(text)
    return folder


def test_every_product_of_a_sensitive_ingredient_is_found(tmp_path: Path):
    told: list[str] = []
    folder = release(tmp_path)
    compiled = compile_rxnorm(
        folder, LABELLER, RULES, lambda stage, done, total: told.append(stage)
    )
    found = {code: set(labels) for code, (labels, _) in compiled.products.items()}
    sensitive = {
        "1433868", "68244", "9001", "85762", "9010", "9011", "9012", "9013", "9014", "9015",
        "9016", "9020",
    }  # fmt: skip
    assert found == {code: {"HIV"} for code in sensitive}
    assert compiled.products["9016"][1] == {"9001"}, "an ingredient no list has, by its name"
    assert dict(compiled.packages) == {"00490023230": frozenset({"HIV"})}
    assert told == ["names", "relations", "packages"]
    assert "1433868" not in compiled.unknown
    assert "6813" in compiled.unknown, "listed, and not in this release"


def test_a_compiled_list_labels_products_and_packages_and_is_taken_back(tmp_path: Path):
    compiled = compile_rxnorm(release(tmp_path / "in"), LABELLER, RULES, lambda *_: None)
    home = tmp_path / "sensitivity"
    lines = [(code, labels, "") for code, (labels, _) in sorted(compiled.products.items())]
    assert keep(home, "rxnorm", lines) == len(lines)
    keep(home, "ndc", [(code, labels, "") for code, labels in compiled.packages.items()])
    labeller = Labeller(with_loaded(LISTS, home))

    def labels(labeller: Labeller, system: str, code: str) -> set[str]:
        request = {"medicationCodeableConcept": {"coding": coded(system, code)}}
        return set(labeller.table.codes(labeller.labels(request).mask))

    assert labels(LABELLER, RXNORM, "9014") == set()
    assert labels(labeller, RXNORM, "9014") == {"HIV"}
    assert labels(labeller, RXNORM, "6813") == {"OPIOIDUD"}, "what config lists, stays"
    for written in ("00490023230", "0490-0232-30", "0490023230", "00490-232-30"):
        assert labels(labeller, NDC, written) == {"HIV"}, written
    assert labels(labeller, NDC, "0490-0232-31") == set()

    keep(home, "rxnorm", [("9018", ["PSY"], "")])
    assert put_back(home, "rxnorm")
    assert labels(Labeller(with_loaded(LISTS, home)), RXNORM, "9014") == {"HIV"}
    assert put_back(home, "rxnorm"), "and back again"
    assert labels(Labeller(with_loaded(LISTS, home)), RXNORM, "9018") == {"PSY"}
    assert not put_back(home, "ndc")
    with pytest.raises(HieError, match="no list") as caught:
        put_back(home, "snomed")
    assert caught.value.category is Category.NOT_FOUND


def test_everything_below_a_listed_concept_is_found_and_what_is_described_so(tmp_path: Path):
    head = "id\teffectiveTime\tactive\tmoduleId\t"
    is_a = "116680003"
    lines = [
        (head + "sourceId\tdestinationId\trelationshipGroup\ttypeId\tcharacteristicTypeId\tm"),
        f"1\t20260101\t1\tm\t5001\t86406008\t0\t{is_a}\tc\tm",
        f"2\t20260101\t1\tm\t5002\t5001\t0\t{is_a}\tc\tm",
        f"3\t20260101\t0\tm\t5003\t5001\t0\t{is_a}\tc\tm",  # no longer so
        "4\t20260101\t1\tm\t5004\t5001\t0\t363698007\tc\tm",  # another relation
        f"5\t20260101\t1\tm\t5005\t5006\t0\t{is_a}\tc\tm",
    ]
    (tmp_path / "sct2_Relationship_Snapshot_X_20260101.txt").write_text("\n".join(lines) + "\n")
    described = [
        head + "conceptId\tlanguageCode\ttypeId\tterm\tcaseSignificanceId",
        "1\t20260101\t1\tm\t5006\ten\tt\tSyphilis of something\tc",
        "2\t20260101\t1\tm\t5005\ten\tt\tA broken leg\tc",
    ]
    (tmp_path / "sct2_Description_Snapshot-en_X_20260101.txt").write_text("\n".join(described))
    found = compile_snomed(tmp_path, LABELLER, lambda *_: None)
    assert {code: set(labels) for code, (labels, _) in found.items()} == {
        "86406008": {"HIV"},
        "5001": {"HIV"},
        "5002": {"HIV"},
        "5006": {"STD"},
    }


def test_a_release_that_is_not_whole_is_named_by_file_and_line(tmp_path: Path):
    with pytest.raises(HieError, match=r"expected one file `RXNCONSO\.RRF`, found 0"):
        compile_rxnorm(tmp_path, LABELLER, RULES, lambda *_: None)
    (tmp_path / "RXNCONSO.RRF").write_text("1|ENG|\n")
    with pytest.raises(HieError, match=r"`RXNCONSO\.RRF` line 1: expected 17 columns"):
        compile_rxnorm(tmp_path, LABELLER, RULES, lambda *_: None)
    (tmp_path / "other.csv").write_text("code,labels,note\n")
    with pytest.raises(HieError, match=r"`other\.csv`: expected one of"):
        with_loaded(LISTS, tmp_path)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("0002-1433-80", ("00002143380",)),
        ("50242-040-62", ("50242004062",)),
        ("60575-4112-1", ("60575411201",)),
        ("00002143380", ("00002143380",)),
        ("0002143380", ("00002143380", "00021043380", "00021433800")),
        ("abc", ()),
        ("", ()),
        ("1-2", ()),
    ],
)
def test_a_package_code_means_eleven_digits_however_it_is_written(written, meant):
    found = packages(written)
    assert found[:2] == meant[:2]
    assert len(found) == len(meant)
