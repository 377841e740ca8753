"""Reads GFT's tables of occurrence, with tolerance: no public source shows their header or code for missing.

Not for intensities, which are in files of their own, nor for guessing what a code means.
"""

import io
import re
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np

from tfds_builders import places, tables

# The benchmark, without which a table is no table of GFT.
REQUIRED = (1, 2, 4, 6, 10, 12, 14, 15, 23, 24)
# What means that the coders could not tell. A -1 alone may mean absence, see `minus_one`.
MISSING = frozenset(["", "9", "-1", "-999", "999", "nan"])

_UNIT = re.compile(r"(?:AU[ _]?)?0*([1-9]\d{0,3})", re.IGNORECASE)

MinusOne = Literal["missing", "absent"]


def units(reader: places.Reader, place: places.Place) -> set[int]:
    """Returns the numbers of the action units that a table has columns for.

    Raises:
      ValueError: it has no column of frame numbers, or lacks one of `REQUIRED`.
    """
    _, columns = _header(next(_rows(reader, place), (1, []))[1], place)
    return set(columns)


def read(
    reader: places.Reader, place: places.Place, order: Iterable[int], minus_one: MinusOne | None
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Returns the codes of each frame of a table, in ascending order.

    Args:
      reader: Reads the table.
      place: The table.
      order: The n action units wanted; those without a column are not coded.
      minus_one: What -1 means: `missing`, or `absent`, and then 0 means missing. With None it is taken for
        missing if the table has another code for missing too, and is an error otherwise.

    Returns:
      Occurrence (n,) uint8 and which units are coded (n,) bool.

    Raises:
      ValueError: naming the file, the line and the remedy.
    """
    rows = _rows(reader, place)
    _, header = next(rows, (1, []))
    frame_column, columns = _header(header, place)
    found, seen = {}, set()
    for line, row in rows:
        at = f"{place}, line {line}"
        if len(row) != len(header):
            raise ValueError(
                f"{at}: expected {len(header)} cells, as in the header; got {len(row)}: the file is "
                "truncated or was edited; get it again."
            )
        cell = row[frame_column]
        frame = tables.whole_number(cell)
        if not frame or frame in found:
            raise ValueError(
                f"{at}: expected a frame number from 1 on that was not there before; got {cell!r}: get the "
                "file again."
            )
        codes = [row[columns[unit]] if unit in columns else "" for unit in order]
        seen.update(codes)
        found[frame] = _codes(codes, minus_one, at)
    if minus_one is None and "-1" in seen and not seen & (MISSING - {"", "-1"}):
        raise ValueError(
            f"{place}: holds the codes {', '.join(sorted(seen - {''}))}. In this table -1 may mean missing, "
            "or absent with 0 for what was not coded. Look into the documentation of your copy, and "
            'pass builder_kwargs={"minus_one": "missing"} or {"minus_one": "absent"}.'
        )
    return dict(sorted(found.items()))


def _codes(codes: list[str], minus_one, at) -> tuple[np.ndarray, np.ndarray]:
    absent, missing = "0", MISSING
    if minus_one == "absent":
        absent, missing = "-1", MISSING - {"-1"} | {"0"}
    for code in codes:
        if code not in missing and code not in (absent, "1"):
            raise ValueError(
                f"{at}: expected 0, 1 or a code for missing ({', '.join(sorted(MISSING - {''}))}, nothing); "
                f"got {code!r}: if this is a table of intensities, take that of occurrence."
            )
    return (
        np.array([code == "1" for code in codes], np.uint8),
        np.array([code not in missing for code in codes], np.bool_),
    )


def _header(header: list[str], place) -> tuple[int, dict[int, int]]:
    """Returns the column of the frame numbers, and that of each action unit."""
    frames = [i for i, cell in enumerate(header) if "frame" in cell]
    if not frames and header and header[0] == "0":
        frames = [0]
    columns = {}
    for i, cell in enumerate(header):
        if (match := _UNIT.fullmatch(cell)) and columns.setdefault(int(match[1]), i) != i:
            raise ValueError(f"{place}: has two columns for AU{match[1]}: remove one.")
    lacking = [f"AU{unit}" for unit in REQUIRED if unit not in columns]
    if len(frames) != 1 or lacking:
        raise ValueError(
            f"{place}: expected a header with one column 'frame' and a column for each action unit, such as "
            f"AU1, AU01 or 1; got {', '.join(header) or 'an empty file'}, which has {len(frames)} for frames "
            f"and lacks {', '.join(lacking) or 'no action unit'}: correct the header."
        )
    return frames[0], columns


def _rows(reader, place) -> Iterator[tuple[int, list[str]]]:
    text = reader.read(place).decode("utf-8-sig", "replace")
    for line, row in enumerate(tables.rows(io.StringIO(text, newline=""), place), start=1):
        # Programs that hold missing values as not-a-number write whole numbers as 1.0.
        cells = [cell.strip().lower().removesuffix(".0") for cell in row]
        if any(cells):
            yield line, cells
