"""Finds tables and images of each sequence in a user's copy of BP4D, in any packing. Not for reading them."""

import collections
import dataclasses
import pathlib
import re

from tfds_builders import folds, places

_SEQUENCE = r"(?:^|/)([FM])(\d{2,3})[_/]T(\d{1,2})"
_TABLE = re.compile(_SEQUENCE + r"\.csv$", re.IGNORECASE)
_INTENSITY = re.compile(_SEQUENCE + r"_AU0*(\d+)\.csv$", re.IGNORECASE)
_IMAGE = re.compile(_SEQUENCE + r"/\d+\.(?:jpe?g|png)$", re.IGNORECASE)
TASKS = 8
SUBJECTS = frozenset(folds.part_of("bp4d"))

INSTRUCTIONS = """\
Request BP4D-Spontaneous at http://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html (for
research, with a signed agreement). Put the 2D images (F001/T1/*.jpg) and AUCoding/ (F001_T1.csv), or the zips
of them, into the manual directory: the one passed as --manual_dir or as
tfds.download.DownloadConfig(manual_dir=...), otherwise <data_dir>/downloads/manual. They may lie under other
folders; the intensities (F001_T1_AU06.csv) can be added."""

Key = tuple[str, int]


@dataclasses.dataclass(frozen=True)
class Sequence:
    """Where the files of one sequence lie: `intensity` by action unit, `images` a folder or None."""

    subject: str
    task: int
    occurrence: places.Place
    intensity: dict[int, places.Place]
    images: places.Place | None

    @property
    def name(self) -> str:
        """Such as F001_T1."""
        return f"{self.subject}_T{self.task}"


def find(manual_dir: pathlib.Path) -> tuple[list[Sequence], dict[Key, str]]:
    """Returns the sequences that have a table, and those that have images only, with what they lack.

    Args:
      manual_dir: Is searched with all folders and archives in it, whatever the case of the names.

    Raises:
      FileNotFoundError: no image or no table is there.
      ArchiveError: as `places.walk`.
      ValueError: something is there twice, or the copy is one of BP4D+.
    """
    tables, images, unreadable = {}, {}, []
    intensities = collections.defaultdict(dict)
    for path, place in places.walk(manual_dir, unreadable):
        if match := _IMAGE.search(path):
            _put(images, _key(match, place), place.parent)
        elif match := _TABLE.search(path):
            _put(tables, _key(match, place), place, once=True)
        elif match := _INTENSITY.search(path):
            _put(intensities[_key(match, place)], int(match[4]), place, once=True)
    for found, wanted in ((tables, "table F001_T1.csv"), (images, "image in a folder F001/T1/")):
        if not found and unreadable:
            raise unreadable[0]
        if not found:
            raise FileNotFoundError(
                f"no {wanted}, or the like of another sequence, in {manual_dir}, in which lies "
                f"{places.listing(manual_dir)}.\n{INSTRUCTIONS}"
            )
    for error in unreadable:
        print(f"not searched: {error}")
    sequences = [
        Sequence(*key, tables[key], intensities.get(key, {}), images.get(key)) for key in sorted(tables)
    ]
    return sequences, dict.fromkeys(sorted(images.keys() - tables.keys()), "no occurrence table")


def _key(match: re.Match, place: places.Place) -> Key:
    # AUNets' lists, and copies made by them, have two digits.
    subject, task = f"{match[1].upper()}{int(match[2]):03d}", int(match[3])
    if subject not in SUBJECTS or not 1 <= task <= TASKS:
        raise ValueError(
            f"{place}: BP4D has subjects F001 to F023 and M001 to M018 in tasks T1 to T{TASKS}; got {subject}"
            f" in T{task}. If this is BP4D+, its frames are numbered otherwise, and this builder does not "
            "read it: pass a manual directory with BP4D alone."
        )
    return subject, task


def _put(found: dict, key, place: places.Place, once: bool = False) -> None:
    before = found.setdefault(key, place)
    if before != place or (once and before is not place):
        raise ValueError(f"found twice: {before} and {place}: leave one of them in the manual directory.")


def images(reader: places.Reader, folder: places.Place) -> dict[int, places.Place]:
    """Returns the image of each frame by its number, since zero padding differs between folders.

    Raises:
      ValueError: a number is there twice, or a frame 0, as no copy of BP4D has it.
    """
    found = {}
    for place in reader.files(folder):
        stem, _, suffix = (place.member or place.path.name).rpartition("/")[2].rpartition(".")
        if stem.isdecimal() and suffix.lower() in ("jpg", "jpeg", "png"):
            _put(found, int(stem), place)
    if 0 in found:
        raise ValueError(
            f"{found[0]}: the images of BP4D are numbered from 1 on; in BP4D+, and where somebody renamed "
            "them, labels belong to other images: get the original images of BP4D."
        )
    return found
