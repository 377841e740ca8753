"""Finds table and video of each subject in a user's copy of GFT, by the subject's name in that of the file.

Not for reading them, and not for files of other names: which names the owner gives is not published.
"""

import dataclasses
import pathlib
import re

from tfds_builders import folds, places

_SUBJECT = re.compile(r"(?<!\d)(\d{3}[ABC])(?![A-Z])", re.IGNORECASE)
VIDEO_SUFFIXES = ("mp4", "avi", "mov", "wmv")
SUBJECTS = frozenset(folds.part_of("gft"))

INSTRUCTIONS = """\
GFT comes in two parts. Annotations are at https://osf.io/7wcyz (CC BY 4.0); videos come from the University
of Pittsburgh after a signed agreement, for which the same page has the form. Put both, as folders or zips,
into the manual directory: the one passed as --manual_dir or as tfds.download.DownloadConfig(manual_dir=...),
otherwise <data_dir>/downloads/manual. Read are tables such as 001A_occ.csv and videos such as 001A.mp4."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """Where the table of occurrence and the video of one subject lie."""

    name: str
    occurrence: places.Place
    video: places.Place


def find(manual_dir: pathlib.Path) -> tuple[list[Subject], dict[str, str]]:
    """Returns the subjects that have both a table and a video, and of the others what they lack.

    Args:
      manual_dir: Is searched with all folders and archives in it, whatever the case of the names.

    Raises:
      FileNotFoundError: there is no table, or no video.
      ArchiveError: as `places.walk`.
      ValueError: two files have the name of one subject, a table has those of two, or of somebody else.
    """
    tables, videos, unreadable = {}, {}, []
    for path, place in places.walk(manual_dir, unreadable):
        stem, _, suffix = path.rpartition("/")[2].rpartition(".")
        subjects = {name.upper() for name in _SUBJECT.findall(stem)}
        if not subjects:
            continue
        if suffix.lower() == "csv" and "occ" in stem.lower():
            _put(tables, subjects, place)
        elif suffix.lower() in VIDEO_SUFFIXES and subjects <= SUBJECTS:
            _put(videos, subjects, place)
    if unreadable and not (tables and videos):
        raise unreadable[0]
    listing = f"in {manual_dir}, in which lies {places.listing(manual_dir)}"
    if not tables:
        raise FileNotFoundError(f"no table such as 001A_occ.csv {listing}.\n{INSTRUCTIONS}")
    if not videos:
        raise FileNotFoundError(
            f"tables of {len(tables)} subjects, but no video such as 001A.mp4 {listing}.\n{INSTRUCTIONS}"
        )
    for error in unreadable:
        print(f"not searched: {error}")
    lacking = {name: "no video" for name in tables.keys() - videos.keys()}
    lacking |= {name: "no table of occurrence" for name in videos.keys() - tables.keys()}
    both = sorted(tables.keys() & videos.keys())
    return [Subject(name, tables[name], videos[name]) for name in both], lacking


def _put(found: dict, subjects: set[str], place: places.Place) -> None:
    if len(subjects) > 1 or not subjects <= SUBJECTS:
        raise ValueError(
            f"{place}: expected the name of one subject, 001A to 032C, in that of the file; got "
            f"{', '.join(sorted(subjects))}: rename it, or remove it from the manual directory."
        )
    (subject,) = subjects
    if subject in found:
        raise ValueError(
            f"two files for {subject}: {found[subject]} and {place}: leave one of them in the manual "
            "directory."
        )
    found[subject] = place
