"""AffectNet+, the newest distribution: images, and a JSON file for each.

Not for `no_human_annotated`, whose labels are a classifier's.
"""

import json
import re
from collections.abc import Iterator

from tfds_builders import archives
from tfds_builders.affectnet import annotation

EXPECTED = (
    "human_annotated/train_set/ and validation_set/, each with images/<id>.jpg and annotations/<id>.json, "
    "unpacked from all parts of the zip by a program that joins them (7z x AffectNet+.zip)"
)
SPLIT_OF_FOLDER = {"train_set": "train", "validation_set": "validation", "val_set": "validation"}
MEMBER = re.compile(
    r"(.*/)?(train_set|validation_set|val_set)/(?:images/([^/]+)\.(?:jpe?g|png)|annotations/([^/]+)\.json)",
    re.IGNORECASE,
)
NO_ANNOTATION = "image without .json"


def find(archive: archives.Archive) -> Iterator[tuple[str, str]]:
    """Yields (split, folder) for each folder of this distribution in the archive."""
    matches = filter(None, map(MEMBER.fullmatch, archive.names))
    for parent, folder in sorted({(match[1] or "", match[2]) for match in matches if match[4]}):
        if "no_human_annotated" not in parent.lower():
            yield SPLIT_OF_FOLDER[folder.lower()], parent + folder


def read(archive: archives.Archive, folder: str) -> Iterator[annotation.Annotation]:
    """Yields what the files say of each id that has an image or a JSON file.

    Raises:
      ValueError: naming the file, if it is no JSON, lacks a key, or a value is none of AffectNet's.
    """
    files: dict[str, dict[str, str]] = {}
    for name in archive.names:
        match = MEMBER.fullmatch(name)
        if match and (match[1] or "") + match[2] == folder:
            files.setdefault(match[3] or match[4], {})["image" if match[3] else "json"] = name
    for identity in sorted(files):
        yield _annotation(archive, identity, files[identity])


def _annotation(archive: archives.Archive, identity: str, files: dict[str, str]) -> annotation.Annotation:
    if "json" not in files:
        return annotation.Annotation(file=identity, problem=NO_ANNOTATION)
    where = f"{archive.path}: {files['json']!r}"
    try:
        values = json.loads(archive.read(files["json"]).decode("utf-8-sig"))
    # ValueError: no UTF-8, no JSON, or a number of thousands of digits.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is no JSON ({error}): get the file again.") from error
    if not isinstance(values, dict) or "human-label" not in values:
        got = ", ".join(values) if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"{where} has no human-label; got {got}: get the original annotations.")
    meta = values.get("meta-data")
    meta = meta if isinstance(meta, dict) else {}
    affect = {
        what: annotation.affect(meta[what], what, where)
        for what in ("valence", "arousal")
        if meta.get(what) is not None
    }
    return annotation.Annotation(
        file=identity,
        image=files.get("image", ""),
        expression=annotation.expression_code(values["human-label"], where),
        landmarks=annotation.landmarks(meta.get("landmark-68")),
        problem="" if "image" in files else annotation.NO_IMAGE,
        **affect,
    )
