"""FER+: ten votes on each image of FER2013 (Barsoum et al., ICMI 2016), and the label of their majority.

Not for the images: FER+ numbers the rows of `fer2013.csv` and has none of its own.
"""

import pathlib
import re
from typing import NamedTuple

import numpy as np

from tfds_builders import archives, tables

# The order of AffectNet's codes, as that of the seven of FER2013.
EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")
# The columns of votes in the order of FER+. The last two are no emotions: "unknown", and "NF" for no face.
VOTES = (
    *("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt"),
    *("unknown", "NF"),
)
EMOTION_OF_VOTE = {name: name for name in VOTES} | {"happiness": "happy", "sadness": "sad"}
FILE = "fer2013new.csv"

NO_MAJORITY = "no majority"
REMOVED = "removed by FER+"

INSTRUCTIONS = f"""\
Get {FILE} from https://github.com/microsoft/FERPlus (MIT licence) and put it into the manual directory,
beside fer2013.csv of the challenge: Kaggle's folders of JPEG files do not tell which row an image was."""


class Votes(NamedTuple):
    """A row of FER+: the challenge's split, whether FER+ kept the image, and the votes (10,) uint8."""

    usage: str
    kept: bool
    votes: np.ndarray


def find(manual_dir: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Returns the folder or archive that holds FER+, and its name in that; unpacked goes before archived.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if there are several.
    """
    found, _ = archives.search(
        manual_dir,
        ("*.zip",),
        lambda archive: [(archive.path, n) for n in archive.names if n.split("/")[-1].lower() == FILE],
    )
    found = [(path, name) for path, name in found if path == found[0][0]]
    if not found:
        raise FileNotFoundError(f"no {FILE} in {manual_dir}.\n{INSTRUCTIONS}")
    if len(found) > 1:
        names = ", ".join(name for _, name in found)
        raise ValueError(f"expected one {FILE} in {found[0][0]}; got {names}: leave one there.")
    return found[0]


def read(path: pathlib.Path, name: str) -> list[Votes]:
    """Returns the rows of FER+, one for each row of `fer2013.csv`.

    Raises:
      ValueError: naming the row, if the file is not FER+'s.
    """
    where = f"{path}: {name!r}"
    with archives.open_archive(path) as archive, archive.open_text(name) as text:
        rows = tables.rows(text, where)
        header = [cell.strip().lower() for cell in next(rows, [])]
        expected = ["usage", "image name", *(vote.lower() for vote in VOTES)]
        if header != expected:
            raise ValueError(
                f"{where}: expected the header {','.join(expected)}; got "
                f"{','.join(header) or 'an empty file'}: get the file again.\n{INSTRUCTIONS}"
            )
        return [_votes(row, f"{where}, row {line}") for line, row in enumerate(rows, start=2)]


def _votes(row: list[str], where: str) -> Votes:
    if len(row) != 2 + len(VOTES) or not all(re.fullmatch(r"\s*\d{1,2}\s*", cell) for cell in row[2:]):
        raise ValueError(
            f"{where}: expected Usage, Image name and {len(VOTES)} numbers of votes; got {','.join(row)!r}: "
            "get the file again."
        )
    return Votes(row[0].strip(), bool(row[1].strip()), np.array([int(cell) for cell in row[2:]], np.uint8))


def row_of(votes: list[Votes], file: str, usage: str) -> Votes:
    """Returns the row of FER+ for the row `<CSV>:<line>` of FER2013.

    Raises:
      ValueError: if there is none, or it is of another split, so that the two files are not of one edition.
    """
    index = int(file.rpartition(":")[2]) - 2  # Line 1 is the header.
    if index >= len(votes) or votes[index].usage != usage:
        got = votes[index].usage if index < len(votes) else "no row"
        raise ValueError(f"{file} is of {usage}, and in {FILE} there is {got}: get the original files.")
    return votes[index]


def majority(votes: np.ndarray) -> str | None:
    """Returns the emotion that most of the votes (10,) are for, by FER+'s own rule.

    Single votes count as outliers and are dropped; of the others, "unknown" and "NF" among them, more than
    half must agree. This is the mode "majority" of `src/ferplus.py` in the repository of FER+.

    Returns:
      One of `EMOTIONS`, "unknown" or "NF"; None without a majority, which FER+ treats as unknown.
    """
    votes = np.where(votes > 1, votes, 0).astype(int)
    most = int(votes.argmax())
    return EMOTION_OF_VOTE[VOTES[most]] if 2 * votes[most] > votes.sum() else None
