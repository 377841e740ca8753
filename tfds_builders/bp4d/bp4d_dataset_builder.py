"""TFDS builder of BP4D-Spontaneous from the user's own licensed copy: the coded frames of all sequences.

Not for BP4D+, which is another data set, nor for the 3D scans and thermal images.
"""

import functools
import math
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import action_units, alignment, archives, configs, counts, folds, places, sequences
from tfds_builders.bp4d import full_copy, labels, layout

# What task n, from 1 on, was made to call up.
EMOTIONS = ("happiness", "sadness", "surprise", "embarrassment", "fear", "pain", "anger", "disgust")

NO_IMAGE = "no image"

CONFIGS = configs.with_aligned(
    [tfds.core.BuilderConfig(name="frames", description="The coded frames of all sequences.")]
)


class Builder(alignment.AligningBuilder):
    """Reads BP4D; the data set's README.md says how to get it and what is in it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = layout.INSTRUCTIONS
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [CONFIGS[0]]
    ALL_CONFIGS: ClassVar[tuple[tfds.core.BuilderConfig, ...]] = CONFIGS

    def _info(self) -> tfds.core.DatasetInfo:
        units = (len(labels.ACTION_UNITS),)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": alignment.image_feature(self.builder_config),
                    "subject": tfds.features.Text(doc="Such as F001; each is in one split."),
                    "sequence": tfds.features.Text(doc="Such as F001_T1: subject and task."),
                    "frame": tfds.features.Scalar(np.int64, doc="Of the sequence; the first is 1."),
                    "emotion": tfds.features.Text(doc="What the task was made to call up."),
                    "occluded": tfds.features.Scalar(np.bool_, doc="The last column of the table is 1."),
                    "action_units": {
                        **action_units.occurrence(*units),
                        "intensity": tfds.features.Tensor(shape=units, dtype=np.uint8, doc="0 to 5."),
                        "intensity_coded": tfds.features.Tensor(
                            shape=units, dtype=np.bool_, doc="False: not coded, and intensity says nothing."
                        ),
                    },
                }
            ),
            homepage="http://www.cs.binghamton.edu/~lijun/Research/3DFE/3DFE_Analysis.html",
            metadata=tfds.core.MetadataDict(action_units=list(labels.ACTION_UNITS)),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        alignment.check(self, self._aligner)
        found, lacking = layout.find(pathlib.Path(dl_manager.manual_dir))
        read = functools.partial(read_sequence, aligner=self._aligner)
        generators = {}
        for part, names in folds.read("bp4d").items():
            title = f"bp4d/{self.builder_config.name} {part}"
            frames = counts.Counts(
                f"{title}, frames",
                {name: full_copy.FRAMES[name] for name in names},
                known={sequences.NO_FACE: math.inf, NO_IMAGE: full_copy.FRAMES_WITHOUT_IMAGE[part]},
                strict=self._strict,
            )
            for (subject, task), reason in lacking.items():
                if subject in names:
                    frames.skip(reason, f"{subject}_T{task}")
            units = dict(zip(full_copy.UNITS, full_copy.OCCURRENCES[part], strict=True))
            tally = sequences.Tally(frames, units, f"{title}, labels", self._strict)
            here = [sequence for sequence in found if sequence.subject in names]
            if any(sequence.images for sequence in here):  # TFDS has no empty splits.
                generators[part] = self._generate_examples(part, here, read, tally)
            else:
                print(f"\n{title}: none of its subjects is there")
        return generators


def read_sequence(sequence: layout.Sequence, aligner: alignment.Aligner | None) -> Iterator[sequences.Frame]:
    """Yields the coded frames of a sequence.

    Args:
      sequence: Where its files lie.
      aligner: As of the builder.

    Raises:
      ValueError: a table or the numbering of the images is not as in BP4D.
    """
    with places.Reader() as reader:
        occurrence = labels.read_occurrence(reader, sequence.occurrence)
        intensity = labels.read_intensity(reader, sequence.intensity)
        images = layout.images(reader, sequence.images) if sequence.images else {}
        for frame, codes in occurrence.items():
            name = f"{sequence.name}_{frame:04d}"
            units = tuple(
                unit for unit, occurs in zip(labels.ACTION_UNITS, codes.occurrence, strict=True) if occurs
            )
            image, reason = _stored(reader, images.get(frame), aligner)
            if image is None:
                yield sequences.Frame(name, sequence.subject, reason=reason, units=units)
                continue
            levels, levels_coded = intensity.get(frame) or labels.uncoded()
            example = {
                "image": image,
                "subject": sequence.subject,
                "sequence": sequence.name,
                "frame": frame,
                "emotion": EMOTIONS[sequence.task - 1],
                "occluded": codes.occluded,
                "action_units": {
                    "occurrence": codes.occurrence,
                    "coded": codes.coded,
                    "intensity": levels,
                    "intensity_coded": levels_coded,
                },
            }
            yield sequences.Frame(name, sequence.subject, example, units=units)


def _stored(reader, place, aligner) -> tuple[Any, str]:
    """Returns what to store of an image, or None and why there is nothing."""
    if place is None:
        return None, NO_IMAGE
    try:
        image = reader.image(place)
    except archives.ImageError:
        return None, counts.DAMAGED
    return alignment.stored(image, None, aligner), sequences.NO_FACE
