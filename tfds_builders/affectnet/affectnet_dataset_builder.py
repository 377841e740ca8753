"""TFDS builder of AffectNet from the user's own licensed copy, in any of its three distributions.

Not for the automatically annotated images, and not for AffectNet-29 or other selections by third parties.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import alignment, archives, configs, counts, sequences
from tfds_builders.affectnet import annotation, csv_tree, json_files, npy_files

LAYOUTS = {"csv": csv_tree, "npy": npy_files, "json": json_files}
SPLITS = ("train", "validation")

# Images by code in a full copy: the lists of the distribution of 2017, which AffectNet+ repeats in total, and
# the small distribution, whose validation images were counted and whose training images agree in total.
_MANUAL = {
    "train": (74874, 134415, 25459, 14090, 6378, 3803, 24882, 3750, 33088, 11645, 82415),
    "validation": (500,) * 11,
}
FULL_COPY = {
    "csv": _MANUAL,
    "npy": {"train": _MANUAL["train"][:8], "validation": (500,) * 7 + (499,)},
    "json": _MANUAL,
}

# The list of 2017 has one row without a box, and one image that no reader opens.
KNOWN_LOSSES = {
    "csv": {"train": {annotation.NULL_BOX: 1}, "validation": {counts.DAMAGED: 1}},
    "npy": {"train": {}, "validation": {}},
    "json": {"train": {}, "validation": {}},
}

INSTRUCTIONS = """\
Request AffectNet at https://www.mohammadmahoor.com/pages/databases/affectnet/ (for research; a principal
investigator signs the form). Unpack it into the manual directory: the one passed as --manual_dir or as
tfds.download.DownloadConfig(manual_dir=...), otherwise <data_dir>/downloads/manual. It may lie under further
folders there."""


@dataclasses.dataclass(kw_only=True)
class AffectNetConfig(tfds.core.BuilderConfig):
    """A distribution and a view of it.

    Attributes:
      layout: Distribution, a key of `LAYOUTS`.
      classes: How many expressions are read, from code 0 on; images of the others are left out.
    """

    layout: str
    classes: int


CONFIGS = configs.with_aligned(
    AffectNetConfig(
        name=f"{layout}_{classes}",
        description=f"The codes 0 to {classes - 1} of the {layout} distribution.",
        layout=layout,
        classes=classes,
    )
    # The small distribution has no images of the last three codes, so a view of 11 would be that of 8.
    for layout, classes in (
        *(("csv", 7), ("csv", 8), ("csv", 11)),
        *(("npy", 7), ("npy", 8)),
        *(("json", 7), ("json", 8), ("json", 11)),
    )
)


def find_copy(manual_dir: pathlib.Path, layout: str) -> dict[str, tuple[pathlib.Path, str]]:
    """Returns for each split the folder or archive it lies in, and its list or folder in that.

    What lies unpacked goes before what lies in archives.

    Raises:
      FileNotFoundError: if a split is not there.
      ArchiveError: if it is not there, but something that could not be read.
      ValueError: if a split is there more than once.
    """
    found, unreadable = archives.search(
        manual_dir,
        ("*.zip", "*.tar", "*.tar.gz", "*.tgz"),
        lambda archive: [(archive.path, *part) for part in LAYOUTS[layout].find(archive)],
    )
    copy = {}
    for split in SPLITS:
        paths = [path for path, of, _ in found if of == split]
        members = [member for path, of, member in found if of == split and path == paths[0]]
        if len(members) > 1:
            raise ValueError(
                f"expected one {split} part of AffectNet ({layout}) in {paths[0]}; got {len(members)}: "
                f"{', '.join(members)}. Leave one there."
            )
        if not members and unreadable:
            raise unreadable[0]
        if not members:
            raise FileNotFoundError(
                f"no {split} part of AffectNet ({layout}) in {manual_dir}: looked for "
                f"{LAYOUTS[layout].EXPECTED}.\n{INSTRUCTIONS}"
            )
        copy[split] = (paths[0], members[0])
    return copy


class Builder(alignment.AligningBuilder):
    """Reads AffectNet; the data set's README.md says how to get it and what the configs are."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    # `tfds build` without --config builds all that are listed; nobody has all three distributions.
    BUILDER_CONFIGS: ClassVar[list[AffectNetConfig]] = [CONFIGS[0]]
    ALL_CONFIGS: ClassVar[tuple[AffectNetConfig, ...]] = CONFIGS

    def _info(self) -> tfds.core.DatasetInfo:
        classes = annotation.EXPRESSIONS[: self.builder_config.classes]
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": alignment.image_feature(self.builder_config),
                    "emotion": tfds.features.ClassLabel(names=classes, doc="The view's label."),
                    "expression": tfds.features.Scalar(np.int64, doc="AffectNet's code, 0 to 10."),
                    "valence": tfds.features.Scalar(np.float32, doc="-1 to 1; NaN where not annotated."),
                    "arousal": tfds.features.Scalar(np.float32, doc="-1 to 1; NaN where not annotated."),
                    "landmarks": tfds.features.Tensor(
                        shape=annotation.LANDMARKS,
                        dtype=np.float32,
                        doc="iBUG's 68, x and y in pixels of the owner's image; NaN where not given.",
                    ),
                    "face_box": tfds.features.Tensor(
                        shape=(4,),
                        dtype=np.int32,
                        doc="Left, top, width, height in the owner's image, as given: some reach out of it, "
                        "some have a negative width or height; all -1 where none is given.",
                    ),
                    "file": tfds.features.Text(doc="<folder>/<name> of the CSV, or the id."),
                }
            ),
            supervised_keys=("image", "emotion"),
            homepage="https://www.mohammadmahoor.com/pages/databases/affectnet/",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        alignment.check(self, self._aligner)
        copy = find_copy(pathlib.Path(dl_manager.manual_dir), self.builder_config.layout)
        return {split: self._examples_of_split(split, *copy[split]) for split in SPLITS}

    def _examples_of_split(self, split: str, path: pathlib.Path, member: str):
        layout, classes = self.builder_config.layout, self.builder_config.classes
        other_view = f"not in the view of {classes} classes"
        title = f"affectnet/{self.builder_config.name} {split}, from {path}: {member}"
        table = counts.Counts(
            title,
            dict(zip(annotation.EXPRESSIONS[:classes], FULL_COPY[layout][split], strict=False)),
            known={**KNOWN_LOSSES[layout][split], other_view: math.inf},
            strict=self._strict,
        )
        return self._image_examples(
            split,
            path,
            functools.partial(
                list_images, layout=layout, member=member, classes=classes, other_view=other_view
            ),
            functools.partial(read_image, aligner=self._aligner),
            sequences.Tally(table, {}, title, self._strict),
        )


def list_images(
    archive: archives.Archive, layout: str, member: str, classes: int, other_view: str
) -> Iterator[annotation.Annotation | sequences.Frame]:
    """Yields the images of a split that can be stored, and a frame for each that is left out.

    Args:
      archive: Where the split lies.
      layout: As of the config.
      member: The split's list or folder.
      classes: As of the config.
      other_view: Why images of other classes are left out.
    """
    seen = set()
    for item in LAYOUTS[layout].read(archive, member):
        if item.expression is not None and item.expression >= classes:
            yield sequences.Frame(item.file, "", reason=other_view)
        elif item.problem:
            yield sequences.Frame(item.file, "", reason=item.problem)
        elif item.file in seen:
            yield sequences.Frame(item.file, "", reason="listed twice")
        else:
            seen.add(item.file)
            yield item


def read_image(
    archive: archives.Archive, item: annotation.Annotation, aligner: alignment.Aligner | None
) -> sequences.Frame:
    """Returns the frame of an image; `aligner` is the builder's."""
    emotion = annotation.EXPRESSIONS[item.expression]
    try:
        image, kind = archive.read_any_image(item.image)
    except archives.ImageError:
        return sequences.Frame(item.file, emotion, reason=counts.DAMAGED)
    notes = ()
    if kind not in archives.STORED_FORMATS:
        notes += (f"{kind}, converted to PNG",)
    if item.landmarks is None:
        notes += ("without 68 landmarks",)
    stored = alignment.stored(image, item.landmarks, aligner)
    if stored is None:
        return sequences.Frame(item.file, emotion, reason=sequences.NO_FACE, notes=notes)
    return sequences.Frame(item.file, emotion, _example(item, stored), notes=notes)


def _example(item: annotation.Annotation, image: Any) -> dict[str, Any]:
    landmarks = np.full(annotation.LANDMARKS, np.nan) if item.landmarks is None else item.landmarks
    return {
        "image": image,
        "emotion": annotation.EXPRESSIONS[item.expression],
        "expression": item.expression,
        "valence": item.valence,
        "arousal": item.arousal,
        "landmarks": landmarks.astype(np.float32),
        "face_box": np.array(item.face_box, np.int32),
        "file": item.file,
    }
