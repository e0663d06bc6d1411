"""Two simulated censuses of one town as CSV: `.venv-census/bin/python bench/census_people.py FILE`.

Run by the Python that `make census` makes: the simulator brings half a gigabyte of packages
that nothing else here needs. Its sample population comes with it.
"""

import sys

import pandas as pd
import pseudopeople

#: Year of the census, and the seed of its noise.
YEARS = ((2020, 1), (2030, 2))


def main(path: str) -> None:
    """Write the censuses, one below the other, with `rec_id` and `simulant_id`."""
    tables = [pseudopeople.generate_decennial_census(year=y, seed=seed) for y, seed in YEARS]
    people = pd.concat(tables, ignore_index=True)
    people.insert(0, "rec_id", [f"c{number}" for number in range(len(people))])
    people.to_csv(path, index=False)


if __name__ == "__main__":
    main(sys.argv[1])
