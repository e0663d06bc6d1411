"""Which column of a file holds what of a patient (`columns.toml`).

    date_formats = ["YYYYMMDD", "DD.MM.YYYY"]
    missing = ["NA"]
    [columns]
    record_id = "rec_id"
    given = ["given_name", "second_name"]
    birth_date = "date_of_birth"
    [constants]
    authority = "urn:oid:2.999.1"
    [sexes]
    "1" = "male"

Every fault names the file, the key and what was expected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType

from hie.kernel.errors import Category, HieError, Issue
from mpi.config_table import ConfigTable
from mpi.offline.dates import Reader, date_reader

#: What a column may hold, and in what order the pages list it.
ATTRIBUTES: Mapping[str, str] = MappingProxyType(
    {
        "record_id": "the row's own id; needed, and in no two rows the same",
        "name": "a whole name in one column, `Family, Given` or `Given Family`",
        "given": "first name; further columns hold further given names",
        "middle": "middle names or initials",
        "family": "surname; several columns are the parts of one",
        "maiden": "former surname; each column is one",
        "alias": "other surname in use; each column is one",
        "suffix": "Jr, Sr, II, ...",
        "birth_date": "date of birth, written by one of `date_formats`",
        "birth_year": "year of birth, four digits, where the date has three columns",
        "birth_month": "month of birth, a number",
        "birth_day": "day of birth, a number",
        "birth_order": "position in a multiple birth, 1 for the first",
        "sex": "male, female, m or f; other words by the table `sexes`",
        "ssn": "social security number, or another number of six digits or more for the person",
        "itin": "taxpayer number",
        "phone": "telephone number; each column is one",
        "email": "e-mail address; each column is one",
        "house": "house number, where it is not part of `street`",
        "street": "street, with or without the house number; several columns are its parts",
        "unit": "apartment or suite, where it is not part of `street`",
        "city": "city",
        "state": "state; read, and not compared: the ZIP code says more",
        "zip": "ZIP or postal code",
        "mrn": "medical record number within `authority`",
        "authority": "who gave the medical record number; a column or a constant",
        "national_id": "national or state number of the person",
        "license": "driver's license number within `state`",
        "mbi": "Medicare beneficiary identifier",
        "member_id": "member number within `payer`",
        "payer": "who gave the member number; a column or a constant",
        "mother_maiden": "mother's maiden name",
        "guardian": "name of mother, father or guardian of a child",
    }
)
#: Attributes of which a row has one value, whatever the number of columns.
_SINGLE = frozenset({"record_id", "birth_year", "birth_month", "birth_day", "birth_order"})
_SINGLE_COLUMN = _SINGLE | {"authority", "payer", "state"}
_DATE_FORMATS = ("YYYY-MM-DD", "YYYYMMDD")
_SEXES = {"male": "male", "m": "male", "female": "female", "f": "female"}
_OPTIONS = frozenset(
    {"columns", "constants", "sexes", "date_formats", "missing", "delimiter", "encoding"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnMap:
    """Which columns hold which attribute.

    Attributes:
        columns: names of columns, by attribute, in the order of the file.
        constants: values that hold for every row, by attribute.
        sexes: a column's word in lower case, to `male` or `female`.
        dates: readers of dates, tried in this order.
        missing: what a cell says that holds nothing.
        delimiter: between two cells; empty = found from the header line.
    """

    columns: Mapping[str, tuple[str, ...]]
    constants: Mapping[str, str] = field(default_factory=dict)
    sexes: Mapping[str, str] = field(default_factory=lambda: _SEXES)
    dates: tuple[Reader, ...] = ()
    missing: frozenset[str] = frozenset()
    delimiter: str = ""
    encoding: str = "utf-8-sig"

    def read_date(self, text: str) -> str:
        """A date as `YYYY-MM-DD`; empty where no format reads it."""
        return next((found for reader in self.dates if (found := reader(text))), "")


def column_map(table: ConfigTable, as_of: date) -> ColumnMap:
    """The map of a file's table.

    Args:
        table: of `columns.toml`; without a table `columns`, the attributes stand at its top.
        as_of: today, for years of two digits.

    Raises:
        HieError: INVALID, one issue per fault.
    """
    keys = set(table.keys())
    source = table.sub("columns") if "columns" in keys else table
    attributes = [key for key in source.keys() if source is not table or key not in _OPTIONS]  # noqa: SIM118 - not a dict
    issues: list[Issue] = []
    columns = {}
    for attribute in attributes:
        if found := _columns(source, attribute, issues):
            columns[attribute] = found
    constants = dict(table.sub("constants").strings()) if "constants" in keys else {}
    issues += _unknown(table, "constants.", constants, set(ATTRIBUTES) - {"record_id"})
    if source is not table:
        issues += _unknown(table, "", keys, _OPTIONS)
    issues += _incomplete(table, columns, constants)
    formats = table.texts("date_formats", _DATE_FORMATS)
    dates = [date_reader(pattern, as_of) for pattern in formats]
    if None in dates:
        fault = table.fault("date_formats", "patterns of YYYY, MM and DD, such as `MM/DD/YYYY`")
        issues.append(Issue(text=fault.text))
    if issues:
        raise HieError(Category.INVALID, "the map of columns cannot be used", issues)
    return ColumnMap(
        columns=MappingProxyType(columns),
        constants=MappingProxyType(constants),
        sexes=MappingProxyType(_SEXES | _sexes(table)),
        dates=tuple(reader for reader in dates if reader),
        missing=frozenset(table.texts("missing", ())),
        delimiter=_delimiter(table),
        encoding=table.text("encoding", "utf-8-sig"),
    )


def _columns(table: ConfigTable, attribute: str, issues: list[Issue]) -> tuple[str, ...]:
    """The columns of an attribute; a fault becomes an issue."""
    try:
        if attribute not in ATTRIBUTES:
            raise table.fault(attribute, f"one of {', '.join(ATTRIBUTES)}")
        names = _names(table, attribute)
        if not names or not all(names) or (attribute in _SINGLE_COLUMN and len(names) > 1):
            raise table.fault(attribute, "the name of one column")
    except HieError as error:
        issues.append(Issue(text=error.text.replace("an array of strings", "names of columns")))
        return ()
    return names


def _names(table: ConfigTable, attribute: str) -> tuple[str, ...]:
    try:
        return (table.text(attribute),)
    except HieError:
        return table.texts(attribute)


def _unknown(
    table: ConfigTable,
    prefix: str,
    keys: Mapping[str, str] | set[str],
    known: Sequence[str] | set[str] | frozenset[str],
) -> list[Issue]:
    return [
        Issue(text=table.fault(f"{prefix}{key}", f"one of {', '.join(sorted(known))}").text)
        for key in sorted(set(keys) - set(known))
    ]


def _incomplete(
    table: ConfigTable, columns: Mapping[str, tuple[str, ...]], constants: Mapping[str, str]
) -> list[Issue]:
    """What one attribute asks of another."""
    given = {*columns, *constants}
    needs = {
        "record_id": "the column of the row's id" if "record_id" not in columns else "",
        "authority": "a column or a constant, because `mrn` is given" if "mrn" in given else "",
        "payer": "a column or a constant, because `member_id` is given"
        if "member_id" in given
        else "",
        "birth_year": "a column, because `birth_month` or `birth_day` is given"
        if given & {"birth_month", "birth_day"}
        else "",
    }
    issues = [
        Issue(text=table.fault(attribute, expected).text)
        for attribute, expected in needs.items()
        if expected and attribute not in given
    ]
    if not given - {"record_id", "authority", "payer", "state"}:
        issues.append(Issue(text=table.fault("columns", "columns that tell patients apart").text))
    return issues


def _sexes(table: ConfigTable) -> dict[str, str]:
    if "sexes" not in table.keys():  # noqa: SIM118 - not a dict
        return {}
    words = table.sub("sexes").strings()
    for word, meaning in words.items():
        if meaning not in ("male", "female"):
            raise table.fault(f"sexes.{word}", "`male` or `female`")
    return {word.casefold(): meaning for word, meaning in words.items()}


def _delimiter(table: ConfigTable) -> str:
    delimiter = table.text("delimiter", "")
    if len(delimiter) > 1:
        raise table.fault("delimiter", "one character")
    return delimiter
