"""AffectNet's small distribution: crops of 224x224, and a .npy file for each value of each image.

Not for the codes 8 to 10, which this distribution leaves out.
"""

import io
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from tfds_builders import archives
from tfds_builders.affectnet import annotation

EXPECTED = "train_set/ and val_set/, each with images/<id>.jpg and annotations/<id>_exp.npy, _val, _aro, _lnd"
SPLIT_OF_FOLDER = {"train_set": "train", "val_set": "validation", "eval_set": "validation"}
MEMBER = re.compile(
    r"(.*/)?(train_set|val_set|eval_set)/(?:images/(\d+)\.(?:jpe?g|png)|annotations/(\d+)_(exp|val|aro|lnd)\.npy)",
    re.IGNORECASE,
)
NO_EXPRESSION = "image without _exp.npy"


def find(archive: archives.Archive) -> Iterator[tuple[str, str]]:
    """Yields (split, folder) for each folder of this distribution in the archive."""
    matches = filter(None, map(MEMBER.fullmatch, archive.names))
    folders = {(match[1] or "", match[2]) for match in matches if (match[5] or "").lower() == "exp"}
    for parent, folder in sorted(folders):
        yield SPLIT_OF_FOLDER[folder.lower()], parent + folder


def read(archive: archives.Archive, folder: str) -> Iterator[annotation.Annotation]:
    """Yields what the files say of each id that has an image or an expression.

    Raises:
      ValueError: naming the file, if a value is none of AffectNet's, or the file is no plain .npy file.
    """
    files: dict[str, dict[str, str]] = {}
    for name in archive.names:
        match = MEMBER.fullmatch(name)
        if match and (match[1] or "") + match[2] == folder:
            files.setdefault(match[3] or match[4], {})[(match[5] or "image").lower()] = name
    for identity in sorted(files, key=int):
        yield _annotation(archive, identity, files[identity])


def _annotation(archive: archives.Archive, identity: str, files: dict[str, str]) -> annotation.Annotation:
    if "exp" not in files:
        return annotation.Annotation(file=identity, problem=NO_EXPRESSION)
    affect = {}
    for kind, what in (("val", "valence"), ("aro", "arousal")):
        if kind in files:
            affect[what] = annotation.affect(
                _scalar(archive, files[kind]), what, f"{archive.path}: {files[kind]!r}"
            )
    return annotation.Annotation(
        file=identity,
        image=files.get("image", ""),
        expression=annotation.expression_code(
            _scalar(archive, files["exp"]), f"{archive.path}: {files['exp']!r}"
        ),
        landmarks=annotation.landmarks(_load(archive, files["lnd"])) if "lnd" in files else None,
        problem="" if "image" in files else annotation.NO_IMAGE,
        **affect,
    )


def _scalar(archive: archives.Archive, name: str) -> Any:
    array = _load(archive, name)
    if array.size != 1:
        raise ValueError(
            f"{archive.path}: {name!r}: expected one value; got an array of shape {array.shape}: "
            "get the original annotations."
        )
    # Copies hold numbers or their text, of shape () or (1,).
    try:
        return array.reshape(()).item()
    except SystemError as error:  # Text of characters that do not exist.
        raise ValueError(
            f"{archive.path}: {name!r} is damaged ({error}): get the original annotations."
        ) from error


def _load(archive: archives.Archive, name: str) -> np.ndarray:
    try:
        return np.load(io.BytesIO(archive.read(name)), allow_pickle=False)
    except archives.ArchiveError:
        raise
    except Exception as error:  # NumPy's reader raises many kinds of errors; a pickle is refused as one.
        raise ValueError(
            f"{archive.path}: {name!r} is no plain .npy file ({error}): get the original annotations."
        ) from error
