"""Release files read line by line with progress, and compiled lists kept with one step back."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from hie.kernel.errors import Category, HieError

#: Told of the stage, the bytes read and the bytes there are.
Tell = Callable[[str, int, int], None]
_BEFORE: Final = ".before"
_TELL_EVERY: Final = 20_000


def found(folder: Path, pattern: str, *, is_needed: bool = True) -> Path | None:
    """The one file of a release that matches a pattern, at any depth.

    Raises:
        HieError: INVALID where it is needed and missing, or there are several.
    """
    paths = sorted(folder.rglob(pattern))
    if len(paths) == 1:
        return paths[0]
    if not paths and not is_needed:
        return None
    raise HieError(Category.INVALID, f"expected one file `{pattern}`, found {len(paths)}")


def rows(path: Path, separator: str, columns: int, tell: Tell, stage: str) -> Iterator[list[str]]:
    """The lines of a release file, split.

    Args:
        path: UTF-8 text.
        separator: between columns; nothing is quoted.
        columns: how many a line has at least.
        tell: told how far it is.
        stage: what `tell` is told it is about.

    Raises:
        HieError: INVALID, naming the file and the line that is shorter.
    """
    total, done = path.stat().st_size, 0
    with path.open(encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            done += len(line)
            if number % _TELL_EVERY == 0:
                tell(stage, min(done, total), total)
            parts = line.rstrip("\r\n").split(separator)
            if len(parts) < columns:
                text = f"`{path.name}` line {number}: expected {columns} columns"
                raise HieError(Category.INVALID, text)
            yield parts
    tell(stage, total, total)


def keep(folder: Path, name: str, lines: Iterable[tuple[str, Iterable[str], str]]) -> int:
    """Write a list in the form of config/sensitivity; the one before stays beside it.

    Args:
        folder: where compiled lists lie; made if need be.
        name: of the list, `rxnorm`.
        lines: code, labels, note.

    Returns:
        How many codes it has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, new = folder / f"{name}.csv", folder / f"{name}.csv.new"
    count = 0
    with new.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("code", "labels", "note"))
        for code, labels, note in lines:
            writer.writerow((code, " ".join(labels), note))
            count += 1
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        path.replace(_before(path))
    new.replace(path)
    return count


def put_back(folder: Path, name: str) -> bool:
    """Take a list back: the one before it is in its place, if there was one.

    Called twice, it puts back what it took away.

    Returns:
        Whether a list is there now.

    Raises:
        HieError: NOT_FOUND when no list of that name was compiled.
    """
    path = folder / f"{name}.csv"
    before, aside = _before(path), folder / f"{name}.csv.aside"
    if not path.exists() and not before.exists():
        raise HieError(Category.NOT_FOUND, f"no list `{name}` was compiled")
    if path.exists():
        path.replace(aside)
    if before.exists():
        before.replace(path)
    if aside.exists():
        aside.replace(before)
    return path.exists()


def reached(
    seeds: Mapping[str, frozenset[str]], above: Mapping[str, Iterable[str]]
) -> dict[str, frozenset[str]]:
    """Every code that a seed reaches, with the seeds that reach it, itself among them."""
    found: dict[str, set[str]] = {}
    for seed in seeds:
        left = [seed]
        seen = {seed}
        while left:
            code = left.pop()
            found.setdefault(code, set()).add(seed)
            for more in above.get(code, ()):
                if more not in seen:
                    seen.add(more)
                    left.append(more)
    return {code: frozenset(by) for code, by in found.items()}


def _before(path: Path) -> Path:
    return path.with_name(path.name + _BEFORE)
