"""CSV files in and out: what partners really send, and outputs that are whole or not there."""

import csv
import gzip
import io
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TextIO, cast

from hie.kernel.errors import Category, HieError, Issue
from mpi.offline.columns import ColumnMap

#: Faults listed before the rest is only counted.
MOST_FAULTS = 20
#: A header or a row longer than this is no row of a table.
MOST_ROW_CHARACTERS = 1_000_000
_DELIMITERS = ",;\t|"


class CsvFile:
    """A CSV file, plain or gzipped, with a header line.

    Args:
        path: of the file; `.gz` is unpacked while it is read.
        columns: says delimiter and encoding.
    """

    def __init__(self, path: Path, columns: ColumnMap) -> None:
        self.path = path
        self._columns = columns
        #: Bytes of the file on disk, and how many of them are read.
        self.size = path.stat().st_size
        self._raw: BinaryIO | None = None

    @property
    def bytes_read(self) -> int:
        """How far the file is read, in bytes as they are on disk."""
        return self._raw.tell() if self._raw and not self._raw.closed else self.size

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The header, then every row that is not empty, each with the number of its line.

        Raises:
            HieError: INVALID; names file, line and what was expected.
        """
        with self.path.open("rb") as self._raw:
            raw: BinaryIO = self._raw
            if self.path.suffix == ".gz":
                raw = cast(BinaryIO, gzip.GzipFile(fileobj=raw))
            text = io.TextIOWrapper(raw, encoding=self._columns.encoding, newline="")
            yield from self._read(text)

    def _read(self, text: TextIO) -> Iterator[tuple[int, list[str]]]:
        reached = [0]
        try:
            yield from self._parse(text, reached)
        except UnicodeError as error:
            expected = f"text in {self._columns.encoding}; say `encoding` in the map"
            raise self._fault(reached[0] + 1, expected) from error
        except csv.Error as error:
            expected = "cells of up to 131,072 characters, quotes closed within their row"
            raise self._fault(reached[0] + 1, expected) from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise self._fault(reached[0] + 1, "a gzip file to its end") from error

    def _parse(self, text: TextIO, reached: list[int]) -> Iterator[tuple[int, list[str]]]:
        first = text.readline(MOST_ROW_CHARACTERS)
        if not first.strip():
            raise self._fault(1, "a header line with the names of the columns")
        delimiter = self._columns.delimiter or max(_DELIMITERS, key=first.count)
        lines = (line.replace("\0", "") for line in chain([first], text))
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        width = 0
        for row in reader:
            reached[0] = reader.line_num
            if not row:
                continue
            width = width or len(row)
            if len(row) != width:
                raise self._fault(reader.line_num, f"{width} cells, as in the header")
            yield reader.line_num, row

    def _fault(self, line: int, expected: str) -> HieError:
        text = f"`{self.path.name}` line {line}: expected {expected}"
        return HieError(Category.INVALID, text)


class Faults:
    """Faults of lines: the first ones told, all counted."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._issues: list[Issue] = []
        self._count = 0

    def add(self, line: int, column: str, expected: str) -> None:
        """One more."""
        self._count += 1
        if self._count <= MOST_FAULTS:
            text = f"`{self._file}` line {line} column `{column}`: expected {expected}"
            self._issues.append(Issue(text=text))

    def check(self) -> None:
        """Raise what was found.

        Raises:
            HieError: INVALID, one issue per line at fault.
        """
        if self._count > MOST_FAULTS:
            self._issues.append(Issue(text=f"and {self._count - MOST_FAULTS} lines more"))
        if self._issues:
            raise HieError(Category.INVALID, "the file cannot be linked", self._issues)


class WholeFile:
    """An output that takes its name only once it is complete.

    Until then it is a hidden file beside it, removed if the work stops.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_kept = False

    def __enter__(self) -> "WholeFile":
        handle, name = tempfile.mkstemp(
            prefix=f".{self._path.name}.", suffix=".part", dir=self._path.parent
        )
        self._part = Path(name)
        self._file = os.fdopen(handle, "w", encoding="utf-8", newline="")
        return self

    def write_rows(self, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A header and rows, as CSV."""
        writer = csv.writer(self._file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)

    def write_text(self, text: str) -> None:
        """Plain text."""
        self._file.write(text)

    def finish(self) -> None:
        """Everything is on disk; take the name when the block ends."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._is_kept = True

    def __exit__(self, *_: object) -> None:
        self._file.close()
        if self._is_kept:
            umask = os.umask(0)
            os.umask(umask)
            self._part.chmod(0o666 & ~umask)
            self._part.replace(self._path)
        else:
            with suppress(FileNotFoundError):
                self._part.unlink()
