"""TFDS builder of RAF-DB's basic set from the user's own licensed copy.

Not for the compound set, which is a package of its own, nor for its attributes of gender, race and age.
"""

import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import alignment, archives, configs, counts
from tfds_builders.rafdb import annotation

# The order of AffectNet's codes, so that a classifier of one set can be compared with one of the other.
EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
SPLITS = ("train", "test")

# Images of each class, in the order of EMOTIONS, in a full copy: counted from a public copy of the list.
FULL_COPY = {
    "train": (2524, 4772, 1982, 1290, 281, 717, 705),
    "test": (680, 1185, 478, 329, 74, 160, 162),
}

NO_IMAGE = "image is absent"
NO_FACE = "no face found"

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


class Builder(alignment.AligningBuilder):
    """Reads RAF-DB; the data set's README.md says how to get it and what the configs are."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [CONFIGS[0]]
    ALL_CONFIGS: ClassVar[tuple[tfds.core.BuilderConfig, ...]] = CONFIGS

    def _info(self) -> tfds.core.DatasetInfo:
        def numbers(shape: tuple[int, ...], doc: str) -> tfds.features.Tensor:
            return tfds.features.Tensor(
                shape=shape,
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
                        (5, 2), "Eye centres, nose tip, mouth corners; left in the image first"
                    ),
                    "landmarks_37": numbers((37, 2), "Those of an automatic method"),
                    "face_box": numbers((4,), "Left, top, right, bottom of the face"),
                    "file": tfds.features.Text(doc="As in the list: train_00001.jpg."),
                }
            ),
            supervised_keys=("image", "emotion"),
            homepage="http://www.whdeng.cn/RAF/model1.html",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        alignment.check(self, self._aligner)
        copy = find_copy(pathlib.Path(dl_manager.manual_dir))
        return {split: self._generate_examples(split, *copy) for split in SPLITS}

    def _generate_examples(
        self, split: str, path: pathlib.Path, labels: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        folder = FOLDER[self.builder_config.name]
        table = counts.Counts(
            f"rafdb/{self.builder_config.name} {split}, from {path}: {labels}",
            dict(zip(EMOTIONS, FULL_COPY[split], strict=True)),
            strict=self._strict,
        )
        seen = set()
        with archives.open_archive(path) as archive:
            files = annotation.files_of_images(archive, _root(labels))
            for label in annotation.labels(archive, labels):
                if label.split != split:
                    continue
                emotion = annotation.EXPRESSION_OF_CODE[label.code]
                stem = label.file.lower().removesuffix(".jpg")
                if label.file in seen:
                    table.skip("listed twice", label.file)
                elif stem not in files[folder]:
                    table.skip(NO_IMAGE, label.file)
                elif example := self._example(archive, stem, files, table):
                    table.read(emotion)
                    seen.add(label.file)
                    yield (
                        label.file,
                        {**example, "emotion": emotion, "expression": label.code, "file": label.file},
                    )
        table.report()

    def _example(
        self, archive: archives.Archive, stem: str, files: dict[str, dict[str, str]], table: counts.Counts
    ) -> dict[str, Any] | None:
        """Returns all but the label, or None if the table counts the image as skipped."""
        try:
            image, _ = archive.read_image(files[FOLDER[self.builder_config.name]][stem])
        except archives.ImageError:
            table.skip(counts.DAMAGED, stem)
            return None
        given = {
            "landmarks": annotation.points(archive, files["manual"].get(stem), 5),
            "landmarks_37": annotation.points(archive, files["auto"].get(stem), 37),
            "face_box": annotation.box(archive, files["boundingbox"].get(stem)),
        }
        if given["landmarks"] is not None:
            given["landmarks"] = annotation.left_eye_first(given["landmarks"])
        stored = alignment.stored(image, given["landmarks"], self._aligner)
        if stored is None:
            table.skip(NO_FACE, stem)
            return None
        for what, value in given.items():
            if value is None:
                table.note(f"without {what}", stem)
                given[what] = np.full(self.info.features[what].shape, np.nan, np.float32)
        return {"image": stored, **given}


def _root(labels: str) -> str:
    """Returns the prefix of the names below the folder that holds EmoLabel/, or the list itself."""
    folders = labels.split("/")[:-1]
    if folders and folders[-1].lower() == "emolabel":
        folders = folders[:-1]
    return "".join(f"{folder}/" for folder in folders)
