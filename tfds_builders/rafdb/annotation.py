"""RAF-DB's annotation files: the list of labels, landmarks, boxes, and which image each belongs to.

Not for opening images.
"""

import pathlib
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfds_builders import archives

LIST_NAMES = ("list_patition_label.txt", "list_partition_label.txt")  # Real copies hold the first.
# By RAF-DB's codes, which count from 1.
EXPRESSION_OF_CODE = {
    1: "surprise",
    2: "fear",
    3: "disgust",
    4: "happy",
    5: "sad",
    6: "anger",
    7: "neutral",
}
FILE = re.compile(r"(train|test)_\d+\.jpg", re.IGNORECASE)
# Each folder of a copy, and what its files add to the name of the image they belong to.
ADDED = {
    "original": "",
    "aligned": "_aligned",
    "manual": "_manu_attri",
    "auto": "_auto_attri",
    "boundingbox": "_boundingbox",
}
SUFFIXES = {
    **dict.fromkeys(("original", "aligned"), (".jpg", ".jpeg", ".png")),
    **dict.fromkeys(("manual", "auto", "boundingbox"), (".txt",)),
}


class Label(NamedTuple):
    """A line of the list: the image's name, its split, and its code, 1 to 7."""

    file: str
    split: str
    code: int


def labels(archive: archives.Archive, name: str) -> Iterator[Label]:
    """Yields the lines of the list `name`.

    Raises:
      ValueError: naming the line, if it is not `train_00001.jpg 5` or the like.
    """
    with archive.open_text(name) as text:
        for number, line in enumerate(text, start=1):
            where = f"{archive.path}: {name!r}, line {number}"
            cells = line.split()
            if not cells:
                continue
            file = archives.safe_name(cells[0], where)
            if len(cells) != 2 or not FILE.fullmatch(file):
                raise ValueError(
                    f"{where}: expected train_<number>.jpg or test_<number>.jpg and a code; got "
                    f"{line.strip()!r}: get the original list of the basic set."
                )
            if cells[1] not in map(str, EXPRESSION_OF_CODE):
                raise ValueError(
                    f"{where}: expected a code from 1 (surprise) to 7 (neutral); got {cells[1]!r}: get the "
                    "original list of the basic set."
                )
            yield Label(file, file.split("_")[0].lower(), int(cells[1]))


def files_of_images(archive: archives.Archive, root: str) -> dict[str, dict[str, str]]:
    """Finds the files below `root` that belong to each image, by the folder they lie in, whatever its case.

    Returns:
      By folder (a key of `ADDED`), then by image, `train_00001`: the file's name in the archive.
    """
    files = {folder: {} for folder in ADDED}
    for name in archive.names:
        path = pathlib.PurePosixPath(name.lower())
        folder = next((part for part in reversed(path.parts[:-1]) if part in ADDED), None)
        if name.startswith(root) and folder and path.suffix in SUFFIXES[folder]:
            # Users rename: images of `aligned/` are found without the addition, too.
            files[folder][path.stem.removesuffix(ADDED[folder])] = name
    return files


def points(archive: archives.Archive, name: str | None, count: int) -> np.ndarray | None:
    """Returns the points (count, 2) of the first lines, x and y on each; None if they are not that."""
    numbers = _numbers(archive, name)
    if numbers is None or len(numbers) < count or any(len(line) != 2 for line in numbers[:count]):
        return None
    return _finite(numbers[:count])


def box(archive: archives.Archive, name: str | None) -> np.ndarray | None:
    """Returns left, top, right, bottom (4,) of a face; None if the file does not hold just these."""
    numbers = [number for line in _numbers(archive, name) or [] for number in line]
    return _finite(numbers) if len(numbers) == 4 else None


def left_eye_first(five: np.ndarray) -> np.ndarray:
    """Orders eye centres, nose and mouth corners (5, 2) so that left is left in the image.

    The documentation does not say whose left comes first. Turned from the right eye to the mouth, an upright
    face and a face upside down both have the mouth on the same side of the line between the eyes.
    """
    eyes, mouth = five[1] - five[0], five[3:].mean(axis=0) - five[:2].mean(axis=0)
    mirrored = eyes[0] * mouth[1] - eyes[1] * mouth[0] < 0
    return five[[1, 0, 2, 4, 3]] if mirrored else five


def _finite(numbers: list) -> np.ndarray | None:
    with np.errstate(over="ignore"):
        found = np.array(numbers, np.float32)
    return found if np.isfinite(found).all() else None


def _numbers(archive: archives.Archive, name: str | None) -> list[list[float]] | None:
    if name is None:
        return None
    lines = archive.read(name).decode("utf-8-sig", errors="replace").splitlines()
    try:
        return [[float(cell) for cell in line.replace(",", " ").split()] for line in lines if line.strip()]
    except ValueError:
        return None
