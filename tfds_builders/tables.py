"""Rows and whole numbers of text tables, with errors that name the file. Not for what the columns mean."""

import csv
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tfds_builders import archives

# No frame has a longer number. Python refuses to convert thousands of digits, and int64 ends at nineteen.
MAX_DIGITS = 9


def rows(lines: Iterable[str], where: object, delimiter: str = ",") -> Iterator[list[str]]:
    """Yields the cells of each row of a CSV.

    Args:
      lines: As `csv.reader` takes them.
      where: The file, for the message.
      delimiter: Between the cells.

    Raises:
      ArchiveError: a cell is too long, as all that follows a quotation mark too many is one cell.
    """
    try:
        yield from csv.reader(lines, delimiter=delimiter)
    except csv.Error as error:
        raise archives.ArchiveError(
            f"{where}: is no CSV ({error}; a quotation mark too many?): get it again."
        ) from error


def whole_number(cell: str) -> int | None:
    """Returns a cell of at most `MAX_DIGITS` digits as a number, None for any other."""
    return int(cell) if cell.isdecimal() and len(cell) <= MAX_DIGITS else None


def rows_of(archive: archives.Archive, name: str) -> Iterator[list[str]]:
    """Yields the cells of each row of a CSV in an archive, in UTF-8.

    Raises:
      ArchiveError: as `rows`, and as `archives.Archive.open_text`.
    """
    with archive.open_text(name) as text:
        yield from rows(text, f"{archive.path}: {name!r}")


def records(path: pathlib.Path, columns: Mapping[str, Callable[[str], Any]]) -> list[dict[str, Any]]:
    """Returns the rows of a table that comes with this project, tabs between cells, `#` before remarks.

    Args:
      path: The table.
      columns: Columns that it must have, with what makes a value of a cell; other cells stay text.

    Raises:
      ArchiveError: the file is damaged: a column is not there, a row has another number of cells, or a cell
        is no value.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise _damaged(path, str(error)) from error
    header, *found = list(rows((line for line in lines if not line.startswith("#")), path, "\t")) or [[]]
    if not set(columns) <= set(header):
        raise _damaged(path, f"its header is {', '.join(header)}, without some of {', '.join(columns)}")
    for row in found:
        if len(row) != len(header):
            raise _damaged(path, f"a row has {len(row)} cells, and the header {len(header)}: {row[:4]}")
    records = [dict(zip(header, row, strict=True)) for row in found]
    try:
        return [{**row, **{name: of(row[name]) for name, of in columns.items()}} for row in records]
    except ValueError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: pathlib.Path, what: str) -> archives.ArchiveError:
    return archives.ArchiveError(f"{path} is damaged ({what}): install keras-emoco again.")
