"""TFDS builder of FER2013 from the user's own copy: Kaggle's folders of JPEG files, or the challenge's CSV.

The config `ferplus` takes its labels from FER+. Not for aligned faces: 48x48 pixels are the detector's crop.
"""

import functools
import math
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import archives, counts, sequences
from tfds_builders.fer2013 import ferplus, images, layout

# Images of each class, in the order of EMOTIONS, in a full copy.
FULL_COPY = {
    "train": (4965, 7215, 4830, 3171, 4097, 436, 3995),
    "test": (1233, 1774, 1247, 831, 1024, 111, 958),
}

CONFIGS = (
    tfds.core.BuilderConfig(name="default", description="The labels of FER2013."),
    tfds.core.BuilderConfig(name="ferplus", description="The labels of FER+, of ten annotators each."),
)


class Builder(sequences.SequenceBuilder):
    """Reads FER2013; the data set's README.md says how to get it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = layout.INSTRUCTIONS
    # `tfds build` without --config builds all that are listed; FER+ needs a file that few have.
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [CONFIGS[0]]
    ALL_CONFIGS: ClassVar[tuple[tfds.core.BuilderConfig, ...]] = CONFIGS

    def _info(self) -> tfds.core.DatasetInfo:
        relabelled = self.builder_config.name == "ferplus"
        features = {
            "image": tfds.features.Image(
                shape=(images.IMAGE_SIZE, images.IMAGE_SIZE, 1),
                doc="The copy's own JPEG bytes; PNG from a CSV.",
            ),
            "emotion": tfds.features.ClassLabel(names=ferplus.EMOTIONS if relabelled else layout.EMOTIONS),
            "usage": tfds.features.ClassLabel(
                names=images.USAGES, doc="The challenge's split; -1 where the copy does not tell."
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
            copy = layout.find_copy(manual_dir, table=True)
            listing = functools.partial(ferplus_images, copy=copy, votes=ferplus.find(manual_dir))
            # How many images have a majority is not published; FER+ leaves the others out.
            known = dict.fromkeys((ferplus.REMOVED, ferplus.NO_MAJORITY, *ferplus.VOTES[-2:]), math.inf)
        else:
            copy = layout.find_copy(manual_dir)
            listing, known = functools.partial(images.list_all, copy=copy), {}
        return {
            split: self._examples_of_split(split, copy, listing, known) for split in images.USAGES_OF_SPLIT
        }

    def _examples_of_split(
        self, split: str, copy: layout.Copy, listing: Callable, known: Mapping[str, float]
    ):
        relabelled = self.builder_config.name == "ferplus"
        title = f"fer2013{'/ferplus' if relabelled else ''} {split}, from {copy}"
        full_copy = {} if relabelled else dict(zip(layout.EMOTIONS, FULL_COPY[split], strict=True))
        return self._image_examples(
            split,
            copy.archive,
            functools.partial(listing, split=split),
            functools.partial(images.read, copy=copy),
            sequences.Tally(
                counts.Counts(title, full_copy, known=known, strict=self._strict), {}, title, self._strict
            ),
        )


def ferplus_images(
    archive: archives.Archive, copy: layout.Copy, votes: tuple[pathlib.Path, str], split: str
) -> Iterator[images.Image | sequences.Frame]:
    """Yields the images of a split with FER+'s labels, and a frame for each that FER+ leaves out.

    Args:
      archive: That of `copy`.
      copy: The CSV of the challenge.
      votes: Where FER+ lies, as `ferplus.find` returns it.
      split: One of `images.USAGES_OF_SPLIT`.

    Raises:
      ValueError: the two files do not have the same rows.
    """
    rows_of_votes = ferplus.read(*votes)
    rows = 0
    for image in images.list_rows(archive, copy.member, split):
        rows += 1
        row = ferplus.row_of(rows_of_votes, image.file, image.usage)
        emotion = ferplus.majority(row.votes)
        if row.kept and emotion in ferplus.EMOTIONS:
            yield image._replace(emotion=emotion, votes=row.votes)
        else:
            reason = (emotion or ferplus.NO_MAJORITY) if row.kept else ferplus.REMOVED
            yield sequences.Frame(image.file, "", reason=reason)
    labelled = sum(row.usage in images.USAGES_OF_SPLIT[split] for row in rows_of_votes)
    if rows != labelled:
        raise ValueError(
            f"{copy}: has {rows:,} rows of the split {split}, and FER+ labels {labelled:,}: get the "
            "original files."
        )
