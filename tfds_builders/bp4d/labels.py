"""Reads BP4D's tables of occurrence and of intensity. Not for finding them, nor the images they speak of."""

import dataclasses
import io
import re
from collections.abc import Iterator, Mapping

import numpy as np

from tfds_builders import places, tables

# All that the coders judged; the tables have a column for each number up to about 100.
ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17)
ACTION_UNITS += (18, 19, 20, 22, 23, 24, 25, 26, 27, 32, 38, 39)
# The benchmark, without which a table is no table of BP4D.
REQUIRED = (1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24)
MISSING = 9
MAX_INTENSITY = 5

_UNIT = re.compile(r"(?:AU)?0*([1-9]\d{0,3})", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Codes:
    """Codes of one frame: `occurrence` and `coded` (27,), and `occluded`, the last column of the table."""

    occurrence: np.ndarray
    coded: np.ndarray
    occluded: bool


def read_occurrence(reader: places.Reader, place: places.Place) -> dict[int, Codes]:
    """Returns the codes of each frame, in ascending order.

    The header gives the number of the action unit of each column, and 0 for that of the frames. A 9 is a code
    for missing. What the table has no column for is not coded either. OpenFace takes the last column, which
    is none of an action unit, as 1 where the face is occluded.

    Raises:
      ValueError: naming the file, the line and the remedy.
    """
    rows = _rows(reader, place)
    _, header = next(rows, (0, []))
    columns = {int(match[1]): i for i, cell in enumerate(header) if i and (match := _UNIT.fullmatch(cell))}
    if not header or tables.whole_number(header[0]) or not set(REQUIRED) <= columns.keys():
        lacking = ", ".join(str(unit) for unit in REQUIRED if unit not in columns)
        raise ValueError(
            f"{place}: expected a header 0,1,2,3,... with a column for each action unit; got "
            f"{','.join(header[:8]) or 'an empty file'},... without {lacking or 'a 0 for the frames'}: "
            "get the file again from the original copy."
        )
    has_flag = len(header) - 1 not in {columns[unit] for unit in ACTION_UNITS if unit in columns}
    found = {}
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{place}, line {line}: expected {len(header)} cells, as in the header; got {len(row)}: the "
                "file is truncated or was edited; get it again from the original copy."
            )
        frame = _frame(row[0], found, place, line)
        codes = [_occurrence(row, columns.get(unit), unit, place, line) for unit in ACTION_UNITS]
        found[frame] = Codes(
            np.array([code == 1 for code in codes], np.uint8),
            np.array([code != MISSING for code in codes], np.bool_),
            has_flag and row[-1] == "1",
        )
    return dict(sorted(found.items()))


def _occurrence(row, column, unit, place, line) -> int:
    if column is None:
        return MISSING
    if row[column] not in ("0", "1", str(MISSING)):
        raise ValueError(
            f"{place}, line {line}: expected 0, 1 or {MISSING} (missing) for AU{unit}; got {row[column]!r}: "
            "get the file again from the original copy."
        )
    return int(row[column])


def read_intensity(
    reader: places.Reader, files: Mapping[int, places.Place]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Returns for each frame intensities (27,) uint8, 0 to 5, and which of them are coded (27,) bool.

    A table has no header; a 9 is a code for missing, and frames can be lacking.

    Args:
      reader: Reads the files.
      files: The table of each action unit that has one: 6, 10, 12, 14 and 17 in BP4D.

    Raises:
      ValueError: naming the file, the line and the remedy.
    """
    found = {}
    for column, unit in enumerate(ACTION_UNITS):
        seen = set()
        for line, row in _rows(reader, files[unit]) if unit in files else ():
            allowed = (*map(str, range(MAX_INTENSITY + 1)), str(MISSING))
            if len(row) != 2 or row[1] not in allowed:
                raise ValueError(
                    f"{files[unit]}, line {line}: expected frame,intensity with an intensity from 0 to "
                    f"{MAX_INTENSITY} or {MISSING} (missing); got {','.join(row)!r}: get the file again from "
                    "the original copy."
                )
            frame = _frame(row[0], seen, files[unit], line)
            seen.add(frame)
            if int(row[1]) != MISSING:
                intensity, coded = found.setdefault(frame, uncoded())
                intensity[column], coded[column] = int(row[1]), True
    return found


def uncoded() -> tuple[np.ndarray, np.ndarray]:
    """Returns the intensities of a frame that has none."""
    return np.zeros(len(ACTION_UNITS), np.uint8), np.zeros(len(ACTION_UNITS), np.bool_)


def _rows(reader, place) -> Iterator[tuple[int, list[str]]]:
    text = reader.read(place).decode("utf-8-sig", "replace")
    for line, row in enumerate(tables.rows(io.StringIO(text, newline=""), place), start=1):
        if any(cell.strip() for cell in row):
            yield line, [cell.strip() for cell in row]


def _frame(cell, seen, place, line) -> int:
    frame = tables.whole_number(cell)
    if not frame or frame in seen:
        raise ValueError(
            f"{place}, line {line}: expected a frame number from 1 on that was not there before; got {cell!r}"
            ": get the file again from the original copy."
        )
    return frame
