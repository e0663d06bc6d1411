"""Code lists that the hub compiled from licensed or downloaded files, added to those of config/.

They lie in the hub's home, as CSV files of the form and the name of the lists of
`config/sensitivity/`: what `hie sensitivity load` makes. Nothing in them takes a label away.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from consent.regime import CodeList, Sensitivity
from consent.settings import code_lines
from hie.kernel.errors import Category, HieError

#: The folder in the hub's home.
FOLDER: Final = "sensitivity"


def with_loaded(sensitivity: Sensitivity, folder: Path) -> Sensitivity:
    """The lists of `config/` and those of a folder; a folder that is not there adds none.

    Raises:
        HieError: INVALID, naming file, column and what was expected there.
    """
    known = frozenset(label.code for label in sensitivity.labels)
    by_name = {found.name: found for found in sensitivity.lists}
    more: list[CodeList] = []
    for path in sorted(folder.glob("*.csv")):
        if path.stem not in by_name:
            text = f"`{path.name}`: expected one of {', '.join(sorted(by_name))}"
            raise HieError(Category.INVALID, text)
        more.append(replace(by_name[path.stem], lines=code_lines(path, known)))
    return replace(sensitivity, lists=(*sensitivity.lists, *more)) if more else sensitivity
