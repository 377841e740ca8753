"""TFDS builder of RAF-DB's basic set from the user's own licensed copy.

Not for the compound set, which is a package of its own, nor for its attributes of gender, race and age.
"""

import functools
import pathlib
from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import alignment, archives, configs, counts, sequences
from tfds_builders.rafdb import annotation

# The order of AffectNet's codes, so that a classifier of one set can be compared with one of the other.
EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
SPLITS = ("train", "test")
SHAPES = {"landmarks": (5, 2), "landmarks_37": (37, 2), "face_box": (4,)}

# Images of each class, in the order of EMOTIONS, in a full copy: counted from a public copy of the list.
FULL_COPY = {
    "train": (2524, 4772, 1982, 1290, 281, 717, 705),
    "test": (680, 1185, 478, 329, 74, 160, 162),
}

NO_IMAGE = "image is absent"

INSTRUCTIONS = """\
Request RAF-DB at http://www.whdeng.cn/RAF/model1.html, for research that is not commercial. Unpack its basic
set into the manual directory (the one passed as --manual_dir or as
tfds.download.DownloadConfig(manual_dir=...), otherwise <data_dir>/downloads/manual), with the archives inside
it (original.zip, aligned.zip, manual.zip, auto.zip, boundingbox.zip):
basic/EmoLabel/list_patition_label.txt, basic/Image/original/train_00001.jpg,
basic/Annotation/manual/train_00001_manu_attri.txt. It may lie under further folders there."""

CONFIGS = (
    *configs.with_aligned(
        [tfds.core.BuilderConfig(name="original", description="The images as found on the web.")]
    ),
    tfds.core.BuilderConfig(name="owner_crop", description="The owner's crops of 100x100 pixels."),
)
FOLDER = {"original": "original", "original_aligned": "original", "owner_crop": "aligned"}


def find_copy(manual_dir: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Returns the folder or archive that holds RAF-DB, and the list of labels in it.

    What lies unpacked goes before what lies in archives.

    Raises:
      FileNotFoundError: if there is none.
      ArchiveError: if there is none, but something that could not be read.
      ValueError: if there are several.
    """
    found, unreadable = archives.search(
        manual_dir,
        ("*.zip", "*.tar", "*.tar.gz", "*.tgz"),
        lambda archive: [
            (archive.path, name)
            for name in archive.names
            if name.split("/")[-1].lower() in annotation.LIST_NAMES
        ],
    )
    found = [(path, name) for path, name in found if path == found[0][0]]
    if len(found) > 1:
        raise ValueError(
            f"expected one list of RAF-DB in {found[0][0]}; got {len(found)}: "
            f"{', '.join(name for _, name in found)}. Leave one there."
        )
    if not found and unreadable:
        raise unreadable[0]
    if not found:
        raise FileNotFoundError(
            f"no RAF-DB in {manual_dir}: looked for {' or '.join(annotation.LIST_NAMES)}.\n{INSTRUCTIONS}"
        )
    return found[0]


class Image(NamedTuple):
    """An image of the list, and the names in the archive of what belongs to it, None where it is absent."""

    label: annotation.Label
    image: str
    landmarks: str | None
    landmarks_37: str | None
    face_box: str | None


class Builder(alignment.AligningBuilder):
    """Reads RAF-DB; the data set's README.md says how to get it and what the configs are."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [CONFIGS[0]]
    ALL_CONFIGS: ClassVar[tuple[tfds.core.BuilderConfig, ...]] = CONFIGS

    def _info(self) -> tfds.core.DatasetInfo:
        def numbers(what: str, doc: str) -> tfds.features.Tensor:
            return tfds.features.Tensor(
                shape=SHAPES[what],
                dtype=np.float32,
                doc=f"{doc}, in pixels of the original image; NaN if not given.",
            )

        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": alignment.image_feature(self.builder_config),
                    "emotion": tfds.features.ClassLabel(names=EMOTIONS),
                    "expression": tfds.features.Scalar(np.int64, doc="RAF-DB's code, 1 to 7."),
                    "landmarks": numbers(
                        "landmarks", "Eye centres, nose tip, mouth corners; left in the image first"
                    ),
                    "landmarks_37": numbers("landmarks_37", "Those of an automatic method"),
                    "face_box": numbers("face_box", "Left, top, right, bottom of the face"),
                    "file": tfds.features.Text(doc="As in the list: train_00001.jpg."),
                }
            ),
            supervised_keys=("image", "emotion"),
            homepage="http://www.whdeng.cn/RAF/model1.html",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        alignment.check(self, self._aligner)
        copy = find_copy(pathlib.Path(dl_manager.manual_dir))
        return {split: self._examples_of_split(split, *copy) for split in SPLITS}

    def _examples_of_split(self, split: str, path: pathlib.Path, labels: str):
        folder = FOLDER[self.builder_config.name]
        title = f"rafdb/{self.builder_config.name} {split}, from {path}: {labels}"
        table = counts.Counts(title, dict(zip(EMOTIONS, FULL_COPY[split], strict=True)), strict=self._strict)
        return self._image_examples(
            split,
            path,
            functools.partial(list_images, labels=labels, split=split, folder=folder),
            functools.partial(read_image, aligner=self._aligner),
            sequences.Tally(table, {}, title, self._strict),
        )


def list_images(
    archive: archives.Archive, labels: str, split: str, folder: str
) -> Iterator[Image | sequences.Frame]:
    """Yields the images of a split that are there once, and a frame for each line that is left out.

    Args:
      archive: Where the copy lies.
      labels: The list of labels.
      split: One of `SPLITS`.
      folder: Which images: a key of `annotation.ADDED`.
    """
    seen = set()
    files = annotation.files_of_images(archive, _root(labels))
    for label in annotation.labels(archive, labels):
        if label.split != split:
            continue
        stem = _stem(label)
        if label.file in seen:
            yield sequences.Frame(label.file, "", reason="listed twice")
        elif stem not in files[folder]:
            yield sequences.Frame(label.file, "", reason=NO_IMAGE)
        else:
            seen.add(label.file)
            given = (files[kind].get(stem) for kind in ("manual", "auto", "boundingbox"))
            yield Image(label, files[folder][stem], *given)


def read_image(archive: archives.Archive, item: Image, aligner: alignment.Aligner | None) -> sequences.Frame:
    """Returns the frame of an image; `aligner` is the builder's."""
    stem, emotion = _stem(item.label), annotation.EXPRESSION_OF_CODE[item.label.code]
    try:
        image, _ = archive.read_image(item.image)
    except archives.ImageError:
        return sequences.Frame(stem, emotion, reason=counts.DAMAGED)
    given = {
        "landmarks": annotation.points(archive, item.landmarks, 5),
        "landmarks_37": annotation.points(archive, item.landmarks_37, 37),
        "face_box": annotation.box(archive, item.face_box),
    }
    if given["landmarks"] is not None:
        given["landmarks"] = annotation.left_eye_first(given["landmarks"])
    stored = alignment.stored(image, given["landmarks"], aligner)
    if stored is None:
        return sequences.Frame(stem, emotion, reason=sequences.NO_FACE)
    example = {
        "image": stored,
        "emotion": emotion,
        "expression": item.label.code,
        "file": item.label.file,
        **{
            what: np.full(SHAPES[what], np.nan, np.float32) if value is None else value
            for what, value in given.items()
        },
    }
    notes = tuple(f"without {what}" for what, value in given.items() if value is None)
    return sequences.Frame(stem, emotion, example, notes=notes, key=item.label.file)


def _stem(label: annotation.Label) -> str:
    return label.file.lower().removesuffix(".jpg")


def _root(labels: str) -> str:
    """Returns the prefix of the names below the folder that holds EmoLabel/, or the list itself."""
    folders = labels.split("/")[:-1]
    if folders and folders[-1].lower() == "emolabel":
        folders = folders[:-1]
    return "".join(f"{folder}/" for folder in folders)
