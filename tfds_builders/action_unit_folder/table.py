"""Reads and checks the CSV of a user's images: which action units each shows, and who it is.

Not for the images themselves, nor for finding the folder or zip that holds both.
"""

import io
import pathlib
import re
from typing import Any

import numpy as np

from tfds_builders import archives, tables

AU_COLUMN = re.compile(r"au0*([1-9]\d{0,3})")
OTHER_COLUMNS = ("file", "subject", "emotion", "sequence", "frame")
HEADER_BYTES = 1 << 16


def find_tables(archive: archives.Archive) -> list[str]:
    """Returns the names of the CSVs whose header has an AU column, or both `file` and `subject`."""
    tables = []
    for name in archive.names:
        if name.lower().endswith(".csv"):
            first_line = archive.read(name, HEADER_BYTES).decode("utf-8-sig", errors="replace").split("\n")[0]
            header = {cell.strip().strip('"').lower() for cell in first_line.split(",")}
            if any(map(AU_COLUMN.fullmatch, header)) or {"file", "subject"} <= header:
                tables.append(name)
    return tables


def read(archive: archives.Archive, table: str) -> tuple[tuple[int, ...], dict[str, dict[str, Any]]]:
    """Reads and checks the CSV `table` of `archive`; the images are only looked up, not opened.

    Returns:
      The numbers of the n action units in the order of the columns; and for each image, by its name in the
      archive, its example without `image`: `action_units` holds `occurrence` (n,) uint8, 0 where not coded,
      and `coded` (n,) bool.

    Raises:
      ValueError: naming the row (the header being row 1), the value and the remedy.
    """
    where = f"{archive.path}: {table!r}"
    try:
        text = archive.read(table).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where}: is not a CSV in UTF-8 ({error}): save it as one.") from error
    rows = list(tables.rows(io.StringIO(text, newline=""), where))
    if not rows:
        raise ValueError(f"{where}: is empty: expected a header and a row per image.")
    columns, units = _columns([cell.strip().lower() for cell in rows[0]], where)
    names = frozenset(archive.names)
    examples, row_of = {}, {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        at = f"{where}, row {number}"
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{at}: expected {len(rows[0])} cells, as in the header; got {len(row)}: correct the row."
            )
        cells = {name: row[column].strip() for name, column in columns.items()}
        for name in ("file", "subject"):
            if not cells[name]:
                raise ValueError(
                    f"{at}: the column {name!r} is empty: fill it; it is needed for every image."
                )
        image = _find_image(cells["file"], table, names, at)
        if image in row_of:
            raise ValueError(
                f"{at}: {cells['file']!r} is already in row {row_of[image]}: keep one row per image."
            )
        row_of[image] = number
        codes = [_code(row[column], f"AU{unit}", at) for unit, column in units.items()]
        frame = tables.whole_number(cells.get("frame") or "0")
        if frame is None:
            raise ValueError(
                f"{at}: expected a whole number as frame; got {cells['frame'][:40]!r}: correct it."
            )
        examples[image] = {
            "file": cells["file"].replace("\\", "/"),
            "subject": cells["subject"],
            "sequence": cells.get("sequence", ""),
            "frame": frame,
            "emotion": cells.get("emotion", ""),
            "action_units": {
                "occurrence": np.array([code or 0 for code in codes], np.uint8),
                "coded": np.array([code is not None for code in codes], np.bool_),
            },
        }
    if not examples:
        raise ValueError(f"{where}: has a header but no row: add a row per image.")
    return tuple(units), examples


def _columns(header: list[str], where: str) -> tuple[dict[str, int], dict[int, int]]:
    """Returns the positions of the named columns, and of the action units by their numbers."""
    columns, units = {}, {}
    for position, cell in enumerate(header):
        match = AU_COLUMN.fullmatch(cell)
        if match is None and re.match(r"au[\W_]*\d", cell):
            raise ValueError(
                f"{where}: the column {cell!r} is not AU and a number, such as "
                "AU12 or AU01: rename the column, or remove it if it holds anything but 0, 1 and nothing."
            )
        if match is None and cell not in OTHER_COLUMNS:
            continue
        group, key = (columns, cell) if match is None else (units, int(match[1]))
        if key in group:
            raise ValueError(f"{where}: has two columns {cell.upper() if match else cell!r}: remove one.")
        group[key] = position
    for name in ("file", "subject"):
        if name not in columns:
            raise ValueError(
                f"{where}: has no column {name!r}; its header is {', '.join(header)}: add the column, or "
                "save the table with commas and the header in the first row."
            )
    if not units:
        raise ValueError(
            f"{where}: has no column AU1, AU2, ...; its header is {', '.join(header)}: add them."
        )
    return columns, units


def _find_image(file: str, table: str, names: frozenset[str], at: str) -> str:
    """Returns the name in the archive of the image that a row calls `file`."""
    file = archives.safe_name(file, at)
    folder = pathlib.PurePosixPath(table).parent
    candidates = [str(folder / file), str(folder / "images" / file)]
    for name in candidates:
        if name in names:
            return name
    raise ValueError(
        f"{at}: there is no image {file!r}; looked for {' and '.join(candidates)}: add the image, or "
        "correct or remove the row."
    )


def _code(text: str, column: str, at: str) -> int | None:
    # Programs that store missing values as not-a-number write the codes of such a column as 0.0 and 1.0.
    codes = {"": None, "0": 0, "1": 1, "0.0": 0, "1.0": 1}
    if text.strip() not in codes:
        raise ValueError(
            f"{at}: expected 0, 1 or nothing in column {column}; got {text!r}: code occurrence as 1, "
            "absence as 0, and leave empty what was not coded."
        )
    return codes[text.strip()]
