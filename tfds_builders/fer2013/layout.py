"""Where a copy of FER2013 lies: Kaggle's folders of JPEG files, or the challenge's CSV.

Not for what is in it: `images` reads that.
"""

import dataclasses
import pathlib

from tfds_builders import archives
from tfds_builders.fer2013 import ferplus

# The order of AffectNet's codes, so that a classifier of one set can be compared with one of the other.
EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
EMOTION_OF_FOLDER = {**{name: name for name in EMOTIONS[:-1]}, "angry": "anger"}
EMOTION_OF_CSV_CODE = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")  # The second is Kaggle's later packing of the first.

INSTRUCTIONS = """\
Get FER2013 from Kaggle, either the data set msambare/fer2013 (archive.zip: train/<emotion>/*.jpg and
test/<emotion>/*.jpg) or the data of the competition
challenges-in-representation-learning-facial-expression-recognition-challenge (fer2013.tar.gz: fer2013.csv).
Put the archive as it is, or unpacked, into the manual directory: the one passed as --manual_dir or as
tfds.download.DownloadConfig(manual_dir=...), otherwise <data_dir>/downloads/manual."""


@dataclasses.dataclass(frozen=True)
class Copy:
    """Where a copy of FER2013 lies: an archive or folder, and in it the CSV, or the parent of `train/`."""

    archive: pathlib.Path
    member: str

    def __str__(self) -> str:
        return f"{self.archive}: {self.member}"


def find_copy(manual_dir: pathlib.Path, *, table: bool = False) -> Copy:
    """Returns the one copy of FER2013 in `manual_dir`, with `table` the one that is a CSV.

    Raises:
      FileNotFoundError: if there is none.
      ArchiveError: if there is none, but something that could not be read.
      ValueError: if there are several.
    """
    patterns = ("*.zip", "fer2013*.tar", "fer2013*.tar.gz", "fer2013*.tgz")
    copies, unreadable = archives.search(manual_dir, patterns, _copies_in)
    if table:
        copies = [copy for copy in copies if copy.member.endswith(".csv")]
    if len(copies) == 1:
        return copies[0]
    if copies:
        listing = "".join(f"\n  {copy}" for copy in copies)
        raise ValueError(
            f"expected one copy of FER2013 in {manual_dir}; got {len(copies)}:{listing}\n"
            "Leave one of them there, or pass its folder as the manual directory."
        )
    if unreadable:
        raise unreadable[0]
    raise FileNotFoundError(
        f"no {'CSV of ' if table else ''}FER2013 in {manual_dir}: looked there and in its "
        f"{', '.join(patterns)} for train/<emotion>/*.jpg, with <emotion> one of "
        f"{', '.join(sorted(EMOTION_OF_FOLDER))}, and for {' or '.join(CSV_NAMES)}.\n"
        f"{ferplus.INSTRUCTIONS if table else INSTRUCTIONS}"
    )


def _copies_in(archive: archives.Archive) -> list[Copy]:
    folders = set()
    for path in map(pathlib.PurePosixPath, archive.names):
        split = path.parent.parent
        is_class = split.name == "train" and path.parent.name.lower() in EMOTION_OF_FOLDER
        if is_class and path.suffix.lower() in IMAGE_SUFFIXES:
            folders.add(str(split.parent))
    tables = []
    for csv_name in CSV_NAMES:
        tables = tables or [name for name in archive.names if name.split("/")[-1] == csv_name]
    return [Copy(archive.path, member) for member in sorted(folders) + tables]
