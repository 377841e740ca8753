"""TFDS builder of FER2013 from the user's own copy: Kaggle's folders of JPEG files, or the challenge's CSV.

The config `ferplus` takes its labels from FER+. Not for aligned faces: 48x48 pixels are the detector's crop.
"""

import dataclasses
import io
import math
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import archives, configs, counts, tables
from tfds_builders.fer2013 import ferplus

# The order of AffectNet's codes, so that a classifier of one set can be compared with one of the other.
EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
EMOTION_OF_FOLDER = {**{name: name for name in EMOTIONS[:-1]}, "angry": "anger"}
EMOTION_OF_CSV_CODE = ("anger", "disgust", "fear", "happy", "sad", "surprise", "neutral")

USAGES = ("Training", "PublicTest", "PrivateTest")
USAGES_OF_SPLIT = {"train": USAGES[:1], "test": USAGES[1:]}

# Images of each class, in the order of EMOTIONS, in a full copy.
FULL_COPY = {
    "train": (4965, 7215, 4830, 3171, 4097, 436, 3995),
    "test": (1233, 1774, 1247, 831, 1024, 111, 958),
}

IMAGE_SIZE = 48
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")  # The second is Kaggle's later packing of the first.

INSTRUCTIONS = """\
Get FER2013 from Kaggle, either the data set msambare/fer2013 (archive.zip: train/<emotion>/*.jpg and
test/<emotion>/*.jpg) or the data of the competition
challenges-in-representation-learning-facial-expression-recognition-challenge (fer2013.tar.gz: fer2013.csv).
Put the archive as it is, or unpacked, into the manual directory: the one passed as --manual_dir or as
tfds.download.DownloadConfig(manual_dir=...), otherwise <data_dir>/downloads/manual."""


CONFIGS = (
    tfds.core.BuilderConfig(name="default", description="The labels of FER2013."),
    tfds.core.BuilderConfig(name="ferplus", description="The labels of FER+, of ten annotators each."),
)


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


class Builder(tfds.core.GeneratorBasedBuilder):
    """Reads FER2013; the data set's README.md says how to get it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = INSTRUCTIONS
    # `tfds build` without --config builds all that are listed; FER+ needs a file that few have.
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [CONFIGS[0]]

    def __init__(self, *, strict: bool = False, **kwargs: Any):
        """As `tfds.core.DatasetBuilder`; `strict` makes a copy that differs from a full one an error."""
        self._strict = strict
        super().__init__(**kwargs)

    @classmethod
    def get_builder_config(cls, name: str, version: Any = None) -> tfds.core.BuilderConfig:
        return configs.choose(name, CONFIGS)

    def _info(self) -> tfds.core.DatasetInfo:
        relabelled = self.builder_config.name == "ferplus"
        features = {
            "image": tfds.features.Image(
                shape=(IMAGE_SIZE, IMAGE_SIZE, 1), doc="The copy's own JPEG bytes; PNG from a CSV."
            ),
            "emotion": tfds.features.ClassLabel(names=ferplus.EMOTIONS if relabelled else EMOTIONS),
            "usage": tfds.features.ClassLabel(
                names=USAGES, doc="The challenge's split; -1 where the copy does not tell."
            ),
            "file": tfds.features.Text(
                doc="<split>/<emotion>/<name> of the copy, or <CSV>:<line>, the header being line 1."
            ),
        }
        if relabelled:
            features["votes"] = tfds.features.Tensor(
                shape=(len(ferplus.VOTES),), dtype=np.uint8, doc=f"For {', '.join(ferplus.VOTES)}."
            )
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "emotion"),
            homepage="https://www.kaggle.com/datasets/msambare/fer2013",
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        manual_dir = pathlib.Path(dl_manager.manual_dir)
        if self.builder_config.name == "ferplus":
            copy = find_copy(manual_dir, table=True)
            votes = ferplus.read(*ferplus.find(manual_dir))
            return {split: self._relabelled_examples(copy, votes, split) for split in USAGES_OF_SPLIT}
        copy = find_copy(manual_dir)
        return {split: self._generate_examples(copy, split) for split in USAGES_OF_SPLIT}

    def _generate_examples(self, copy: Copy, split: str) -> Iterator[tuple[str, dict]]:
        examples = _csv_examples if copy.member.endswith(".csv") else _folder_examples
        full_copy = dict(zip(EMOTIONS, FULL_COPY[split], strict=True))
        table = counts.Counts(f"fer2013 {split}, from {copy}", full_copy, strict=self._strict)
        empty = list(EMOTIONS)
        with archives.open_archive(copy.archive) as archive:
            for example in examples(archive, copy.member, split):
                table.read(example["emotion"])
                if example["emotion"] in empty:
                    empty.remove(example["emotion"])
                yield example["file"], example
        if empty:
            print(f"\n{table}")
            raise ValueError(
                f"{copy}: the split {split} has no image of {', '.join(empty)}: the copy is not complete; "
                "get it again."
            )
        table.report()

    def _relabelled_examples(
        self, copy: Copy, votes: list[ferplus.Votes], split: str
    ) -> Iterator[tuple[str, dict]]:
        # How many images have a majority is not published; FER+ leaves the others out.
        known = dict.fromkeys((ferplus.REMOVED, ferplus.NO_MAJORITY, *ferplus.VOTES[-2:]), math.inf)
        table = counts.Counts(f"fer2013/ferplus {split}, from {copy}", {}, known=known, strict=self._strict)
        rows = 0
        with archives.open_archive(copy.archive) as archive:
            for example in _csv_examples(archive, copy.member, split):
                rows += 1
                row = ferplus.row_of(votes, example["file"], example["usage"])
                emotion = ferplus.majority(row.votes)
                if not row.kept or emotion not in ferplus.EMOTIONS:
                    reason = (emotion or ferplus.NO_MAJORITY) if row.kept else ferplus.REMOVED
                    table.skip(reason, example["file"])
                    continue
                table.read(emotion)
                yield example["file"], {**example, "emotion": emotion, "votes": row.votes}
        labelled = sum(row.usage in USAGES_OF_SPLIT[split] for row in votes)
        if rows != labelled:
            raise ValueError(
                f"{copy}: has {rows:,} rows of the split {split}, and FER+ labels {labelled:,}: get the "
                "original files."
            )
        table.report()


def _folder_examples(archive: archives.Archive, root: str, split: str) -> Iterator[dict]:
    prefix = f"{split}/" if root == "." else f"{root}/{split}/"
    for name in archive.names:
        if not (name.startswith(prefix) and name.lower().endswith(IMAGE_SUFFIXES)):
            continue
        where = f"{archive.path}: {name!r}"
        folder, _, file = name.removeprefix(prefix).partition("/")
        emotion = EMOTION_OF_FOLDER.get(folder.lower())
        if emotion is None or "/" in file or not file:
            raise ValueError(
                f"{where}: expected {split}/<emotion>/<image>, with <emotion> one of "
                f"{', '.join(sorted(EMOTION_OF_FOLDER))}; got {folder!r}: rename the folder or remove it."
            )
        image, size = archive.read_image(name)
        if size != (IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"{where}: expected {IMAGE_SIZE}x{IMAGE_SIZE} pixels; got {size[0]}x{size[1]}: "
                "this is no original image of FER2013; get the original copy."
            )
        usage = _usage(file, split, where)
        yield {
            "image": io.BytesIO(image),
            "emotion": emotion,
            "usage": usage,
            "file": f"{split}/{folder}/{file}",
        }


def _usage(file: str, split: str, where: str) -> str | int:
    """Returns the challenge's split from the file's prefix; the folder suffices where it has one meaning."""
    usages = USAGES_OF_SPLIT[split]
    usage = next((usage for usage in USAGES if file.startswith(f"{usage}_")), None)
    if usage is None:
        return usages[0] if len(usages) == 1 else -1
    if usage not in usages:
        raise ValueError(
            f"{where}: the name says {usage}, but the folder {split}/ is for {' and '.join(usages)}: "
            "the copy mixes training and test images; get the original copy."
        )
    return usage


def _csv_examples(archive: archives.Archive, table: str, split: str) -> Iterator[dict]:
    rows = tables.rows_of(archive, table)
    header = [cell.strip().lower() for cell in next(rows, [])]
    missing = {"emotion", "pixels", "usage"} - set(header)
    if missing:
        raise ValueError(
            f"{archive.path}: {table!r} has no column {', '.join(sorted(missing))}; expected a header with "
            f"emotion, pixels, Usage; got {', '.join(header) or 'an empty file'}: get the original copy."
        )
    for line, row in enumerate(rows, start=2):
        where = f"{archive.path}: {table!r}, row {line}"
        if len(row) != len(header):
            raise ValueError(
                f"{where}: expected {len(header)} cells; got {len(row)}: the file is truncated or "
                "was edited; get it again."
            )
        cells = dict(zip(header, row, strict=True))
        usage = cells["usage"].strip()
        if usage not in USAGES:
            raise ValueError(
                f"{where}: expected a Usage of {', '.join(USAGES)}; got {usage!r}: get the original copy."
            )
        if usage in USAGES_OF_SPLIT[split]:
            yield {
                "image": _pixels(cells["pixels"], where),
                "emotion": _emotion(cells["emotion"], where),
                "usage": usage,
                "file": f"{table.split('/')[-1]}:{line}",
            }


def _pixels(text: str, where: str) -> np.ndarray:
    """Returns the image (48, 48, 1) of a cell of 2,304 numbers from 0 to 255, row by row."""
    try:
        values = bytes(map(int, text.split()))
    except ValueError as error:
        raise ValueError(
            f"{where}: pixels must be whole numbers from 0 to 255 ({error}): get it again."
        ) from error
    if len(values) != IMAGE_SIZE**2:
        raise ValueError(
            f"{where}: expected {IMAGE_SIZE**2} pixels; got {len(values)}: the file is truncated or "
            "was edited; get it again."
        )
    return np.frombuffer(values, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE, 1)


def _emotion(text: str, where: str) -> str:
    codes = {str(code): emotion for code, emotion in enumerate(EMOTION_OF_CSV_CODE)}
    if text.strip() not in codes:
        raise ValueError(
            f"{where}: expected an emotion from 0 to {len(codes) - 1}; got {text!r}: get the original copy."
        )
    return codes[text.strip()]
