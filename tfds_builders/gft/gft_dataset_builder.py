"""TFDS builder of GFT from the user's own copy: tables of occurrence, and the videos, which come separately.

Not for intensities, whose files no public source describes.
"""

import functools
import math
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import action_units, alignment, configs, counts, folds, places, sequences, videos
from tfds_builders.gft import labels, layout

FRAMES = 1800  # of each subject: a minute
LENGTH_TOLERANCE = 1  # frames
NOT_CODED, NO_FRAME = "not coded", "label without frame"

CONFIGS = configs.with_aligned(
    [tfds.core.BuilderConfig(name="frames", description="The coded frames of all videos.")]
)


class Builder(alignment.AligningBuilder):
    """Reads GFT; the data set's README.md says how to get it, what is in it, and what is not known of it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "Initial release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = layout.INSTRUCTIONS
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [CONFIGS[0]]
    ALL_CONFIGS: ClassVar[tuple[tfds.core.BuilderConfig, ...]] = CONFIGS

    def __init__(
        self,
        *,
        aligner: alignment.Aligner | None = None,
        strict: bool = False,
        minus_one: labels.MinusOne | None = None,
        **kwargs: Any,
    ):
        """As `alignment.AligningBuilder`.

        Args:
          aligner: Cuts out faces, for the configs that store them aligned.
          strict: Whether a copy that differs from a full one is an error.
          minus_one: What -1 means in the tables, as in `labels.read`.
          **kwargs: Passed on.

        Raises:
          ValueError: `minus_one` is something else.
        """
        if minus_one not in (None, "missing", "absent"):
            raise ValueError(f"minus_one must be 'missing', 'absent' or None; got {minus_one!r}.")
        self._minus_one = minus_one
        super().__init__(aligner=aligner, strict=strict, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": alignment.image_feature(self.builder_config),
                    "subject": tfds.features.Text(doc="Such as 001A: group and seat; each is in one split."),
                    "group": tfds.features.Text(doc="Such as 001; each is in one split."),
                    "sequence": tfds.features.Text(doc="The video's; one for each subject."),
                    "frame": tfds.features.Scalar(np.int64, doc="Of the video; the first is 1."),
                    "emotion": tfds.features.Text(doc="Empty: GFT codes none."),
                    "action_units": action_units.occurrence(None),
                }
            ),
            homepage="https://osf.io/7wcyz",
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        alignment.check(self, self._aligner)
        found, lacking = layout.find(pathlib.Path(dl_manager.manual_dir))
        with places.Reader() as reader:
            units = sorted(set().union(*(labels.units(reader, subject.occurrence) for subject in found)))
        print(f"\ngft: the tables have columns for {', '.join(f'AU{unit}' for unit in units)}")
        self.info.metadata.update(action_units=units)
        read = functools.partial(
            read_subject, units=tuple(units), minus_one=self._minus_one, aligner=self._aligner
        )
        generators = {}
        for split, names in folds.read("gft").items():
            title = f"gft/{self.builder_config.name} {split}, frames"
            frames = counts.Counts(
                title,
                dict.fromkeys(names, FRAMES),
                known={sequences.NO_FACE: math.inf, NOT_CODED: math.inf, NO_FRAME: len(names)},
                strict=self._strict,
            )
            for name in sorted(lacking.keys() & set(names)):
                frames.skip(lacking[name], name)
            here = [subject for subject in found if subject.name in names]
            if here:  # TFDS has no empty splits.
                tally = sequences.Tally(frames, {}, title, self._strict)
                generators[split] = self._generate_examples(split, here, read, tally)
            else:
                print(f"\n{title}: none of its subjects is there")
        return generators


def read_subject(
    subject: layout.Subject,
    units: tuple[int, ...],
    minus_one: labels.MinusOne | None,
    aligner: alignment.Aligner | None,
) -> Iterator[sequences.Frame]:
    """Yields the frames of a subject's video, which is decoded once, from the first on.

    Args:
      subject: Where its files lie.
      units: Numbers of the action units, in order.
      minus_one: As in `labels.read`.
      aligner: As of the builder.

    Raises:
      ValueError: the video ends before the labels or goes on for over a minute, or the table is damaged.
    """
    with places.Reader() as reader:
        codes = labels.read(reader, subject.occurrence, units, minus_one)
        coded = {frame for frame, (_, judged) in codes.items() if judged.any()}
        longest = max(FRAMES, *codes, 0) + LENGTH_TOLERANCE
        number = 0
        for number, image in enumerate(videos.frames(reader.unpack(subject.video)), start=1):
            if number > longest:
                break
            if number in coded:
                yield _frame(subject.name, number, image, codes[number], units, aligner)
            elif number <= FRAMES:
                yield sequences.Frame(f"{subject.name}_{number:04d}", subject.name, reason=NOT_CODED)
        last = max(coded, default=0)
        if number > longest or number < last - LENGTH_TOLERANCE:
            raise ValueError(
                f"{subject.video}: expected {FRAMES:,} frames, with labels up to frame {last:,}; got "
                f"{'over' if number > longest else 'only'} {min(number, longest):,}: copy the video again."
            )
        for missing in sorted(frame for frame in coded if frame > number):
            yield sequences.Frame(f"{subject.name}_{missing:04d}", subject.name, reason=NO_FRAME)


def _frame(subject, number, image, codes, units, aligner) -> sequences.Frame:
    name = f"{subject}_{number:04d}"
    occurrence, coded = codes
    present = tuple(unit for unit, occurs in zip(units, occurrence, strict=True) if occurs)
    stored = alignment.stored(image, None, aligner)
    if stored is None:
        return sequences.Frame(name, subject, reason=sequences.NO_FACE, units=present)
    example = {
        "image": stored,
        "subject": subject,
        "group": subject[:3],
        "sequence": subject,
        "frame": number,
        "emotion": "",
        "action_units": {"occurrence": occurrence, "coded": coded},
    }
    return sequences.Frame(name, subject, example, units=present)
