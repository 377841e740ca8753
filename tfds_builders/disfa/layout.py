"""Finds videos, labels and landmarks of each subject in a user's copy of DISFA. Not for reading them."""

import collections
import dataclasses
import pathlib
import re

from tfds_builders import folds, places
from tfds_builders.disfa import labels

_LABEL = re.compile(r"(?:^|/)(SN\d{3})_au0*(\d+)\.txt$", re.IGNORECASE)
_VIDEO = re.compile(r"(?:^|/)(left|right)video(SN\d{3})_comp\.avi$", re.IGNORECASE)
_LANDMARK = re.compile(r"(?:^|/)(SN\d{3})/tmp_frame_lm/[^/]+\.mat$", re.IGNORECASE)
_PLUS = re.compile(r"(?:^|/)Labels/SN\d{3}/[^/]+/AU\d+\.txt$", re.IGNORECASE)
SUBJECTS = frozenset(folds.part_of("disfa"))

INSTRUCTIONS = """\
Request DISFA at http://mohammadmahoor.com/disfa-contact-form/ (for research, with a signed agreement). Put
ActionUnit_Labels/, Videos_LeftCamera/ and Video_RightCamera/, or the zips of them, into the manual directory:
the one passed as --manual_dir or as tfds.download.DownloadConfig(manual_dir=...), otherwise
<data_dir>/downloads/manual. They may lie under further folders; Landmark_Points/ can be added."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """Where the files of one subject lie: `labels` by action unit, `landmarks` the folder or None."""

    name: str
    video: places.Place
    labels: dict[int, places.Place]
    landmarks: places.Place | None


def find(manual_dir: pathlib.Path, camera: str) -> tuple[list[Subject], dict[str, str]]:
    """Returns the subjects of a copy, and those that lack their video or all labels, with what they lack.

    Args:
      manual_dir: Is searched with all folders and archives in it, whatever the case of the names.
      camera: `left` or `right`.

    Raises:
      FileNotFoundError: no video or no label, or some label files of a subject are not there.
      ArchiveError: as `places.walk`.
      ValueError: a file is there twice, a subject is none of DISFA's, or the copy is one of DISFA+.
    """
    texts = collections.defaultdict(dict)
    videos, landmarks, unreadable, is_plus = {}, {}, [], False
    for path, place in places.walk(manual_dir, unreadable):
        if match := _LABEL.search(path):
            unit, of_subject = int(match[2]), texts[_known(match[1], place)]
            of_subject[unit] = _only(of_subject.get(unit), place)
        elif (match := _VIDEO.search(path)) and match[1].lower() == camera:
            subject = _known(match[2], place)
            videos[subject] = _only(videos.get(subject), place)
        elif match := _LANDMARK.search(path):
            subject, folder = _known(match[1], place), place.parent
            if landmarks.setdefault(subject, folder) != folder:
                _only(landmarks[subject], folder)
        is_plus = is_plus or bool(_PLUS.search(path))
    _require(manual_dir, camera, videos, texts, unreadable, is_plus)
    for subject, files in texts.items():
        for unit in labels.ACTION_UNITS:
            if unit not in files:
                raise FileNotFoundError(
                    f"no {subject}_au{unit}.txt in {manual_dir}, beside {next(iter(files.values()))}.\n"
                    f"{INSTRUCTIONS}"
                )
    lacking = {subject: f"no {camera} video" for subject in texts.keys() - videos.keys()}
    lacking |= {subject: "no labels" for subject in videos.keys() - texts.keys()}
    subjects = [
        Subject(name, videos[name], texts[name], landmarks.get(name))
        for name in sorted(videos.keys() & texts.keys())
    ]
    return subjects, lacking


def _require(manual_dir, camera, videos, texts, unreadable, is_plus) -> None:
    side = camera.capitalize()
    for found, wanted in ((texts, "SN001_au1.txt"), (videos, f"{side}VideoSN001_comp.avi")):
        if found:
            continue
        if is_plus:
            raise ValueError(
                f"{manual_dir} holds DISFA+ (Labels/SNxxx/<trial>/AU1.txt), another data set, of posed "
                f"expressions, which this builder does not read.\n{INSTRUCTIONS}"
            )
        if unreadable:
            raise unreadable[0]
        raise FileNotFoundError(
            f"no {wanted} or the like of another subject in {manual_dir}, in which lies "
            f"{places.listing(manual_dir)}.\n{INSTRUCTIONS}"
        )
    for error in unreadable:
        print(f"not searched: {error}")


def _known(subject: str, place: places.Place) -> str:
    subject = subject.upper()
    if subject not in SUBJECTS:
        raise ValueError(
            f"{place}: {subject} is none of the 27 subjects of DISFA, SN001 to SN032 without 14, 15, 19, 20 "
            "and 22: remove it from the manual directory."
        )
    return subject


def _only(before: places.Place | None, place: places.Place) -> places.Place:
    if before is not None:
        raise ValueError(f"found twice: {before} and {place}: leave one of them in the manual directory.")
    return place
