"""AffectNet's original distribution (2017): a tree of images, and training.csv and validation.csv.

Not for the automatically annotated part, whose labels are a classifier's.
"""

from collections.abc import Iterator

from tfds_builders import archives, tables
from tfds_builders.affectnet import annotation

EXPECTED = (
    "Manually_Annotated_file_lists/training.csv and validation.csv, and the images unpacked from the .rar "
    "parts, Manually_Annotated_Images/<number>/<name>"
)
LIST_OF_SPLIT = {"train": "training.csv", "validation": "validation.csv"}
COLUMNS = (
    "subdirectory_filepath",
    "face_x",
    "face_y",
    "face_width",
    "face_height",
    "facial_landmarks",
    "expression",
    "valence",
    "arousal",
)
FIRST_BYTES = 1 << 14


def find(archive: archives.Archive) -> Iterator[tuple[str, str]]:
    """Yields (split, CSV) for each list of AffectNet in the archive; other sets have a training.csv, too."""
    for name in archive.names:
        for split, file in LIST_OF_SPLIT.items():
            if name.split("/")[-1].lower() == file:
                first_line = (
                    archive.read(name, FIRST_BYTES).decode("utf-8-sig", errors="replace").split("\n")[0]
                )
                cells = _cells(first_line.split(","))
                if cells[0].endswith(COLUMNS[0]) or len(cells) == len(COLUMNS):
                    yield split, name


def read(archive: archives.Archive, table: str) -> Iterator[annotation.Annotation]:
    """Yields what each row of the CSV says.

    Raises:
      ValueError: naming the row, if a column is missing or a value is none of AffectNet's.
      ArchiveError: if a path leads out of the folder.
    """
    where = f"{archive.path}: {table!r}"
    images = _images(archive)
    with archive.open_text(table) as text:
        rows = tables.rows(text, where)
        first = next(rows, [])
        header = _cells(first)
        if header[:1] == [COLUMNS[0]]:
            missing = [column for column in COLUMNS if column not in header]
            if missing:
                raise ValueError(
                    f"{where} has no column {', '.join(missing)}; its header is {', '.join(first)}: "
                    "get the original list."
                )
            start = 2
        else:  # Some copies have no header; the order of the columns is then the documented one.
            header, start = list(COLUMNS), 1
            rows = _chain(first, rows)
        for line, row in enumerate(rows, start=start):
            if row:
                yield _annotation(row, header, images, f"{where}, row {line}")


def _cells(row: list[str]) -> list[str]:
    return [cell.strip().lstrip("#").strip('"').lower() for cell in row]


def _chain(first: list[str], rows: Iterator[list[str]]) -> Iterator[list[str]]:
    yield first
    yield from rows


def _images(archive: archives.Archive) -> tuple[dict[str, str], dict[str, str]]:
    """The names in the archive by `<folder>/<name>`, whatever lies above, and second names of that kind.

    In lower case: lists and files disagree about suffixes.
    """
    images, second = {}, {}
    for name in archive.names:
        key = "/".join(name.lower().rsplit("/", 2)[-2:])
        if "automatically_annotated" not in name.lower() and images.setdefault(key, name) != name:
            second[key] = name
    return images, second


def _annotation(
    row: list[str], header: list[str], images: tuple[dict[str, str], dict[str, str]], where: str
) -> annotation.Annotation:
    if len(row) != len(header):
        raise ValueError(
            f"{where}: expected {len(header)} cells; got {len(row)}: the list is truncated or was edited; "
            "get it again."
        )
    cells = dict(zip(header, row, strict=True))
    file = archives.safe_name(cells[COLUMNS[0]].strip(), where)
    box = [cells[column].strip() for column in COLUMNS[1:5]]
    if "NULL" in (side.upper() for side in box):
        return annotation.Annotation(file=file, problem=annotation.NULL_BOX)
    image, second = (names.get(file.lower(), "") for names in images)
    if second:
        raise ValueError(f"{where}: {file!r} may be {image!r} or {second!r}: leave one tree of images there.")
    return annotation.Annotation(
        file=file,
        image=image,
        expression=annotation.expression_code(cells["expression"], where),
        valence=annotation.affect(cells["valence"], "valence", where),
        arousal=annotation.affect(cells["arousal"], "arousal", where),
        landmarks=annotation.landmarks(cells["facial_landmarks"].strip(" ;").split(";")),
        face_box=tuple(
            annotation.pixels(side, column, where) for side, column in zip(box, COLUMNS[1:5], strict=True)
        ),
        problem="" if image else annotation.NO_IMAGE,
    )
