"""TFDS builder of DISFA from the user's own licensed copy: videos of either camera, and intensities.

Not for DISFA+, which is another data set.
"""

import functools
import math
import pathlib
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import alignment, archives, configs, counts, folds, places, sequences, videos
from tfds_builders.disfa import labels, landmarks, layout

# From "B" of A to E on, as is usual on DISFA since JAA-Net; the intensity is stored beside it.
OCCURRENCE_INTENSITY = 2

# Label lines of each subject. Decoders disagree by one frame about the length of a video.
FRAMES, FRAMES_OF = 4845, {"SN010": 4844}
LENGTH_TOLERANCE = 1
NO_LABEL, NO_FRAME = "frame without label", "label without frame"

# Frames with an occurrence in each part, as counted on ME-GraphAU's lists.
_UNITS = (1, 2, 4, 6, 9, 12, 25, 26)
OCCURRENCES = {
    "part1": (1839, 1125, 5119, 2360, 1218, 4503, 10850, 4902),
    "part2": (1469, 879, 6653, 3558, 1287, 6187, 13206, 4123),
    "part3": (3198, 3640, 8161, 4409, 2968, 6161, 12191, 2508),
}

CONFIGS = configs.with_aligned(
    tfds.core.BuilderConfig(name=camera, description=f"Videos of the {camera} camera.")
    for camera in ("left", "right")
)


class Builder(alignment.AligningBuilder):
    """Reads DISFA; the data set's README.md says how to get it and what the configs are."""

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
                    "subject": tfds.features.Text(doc="Such as SN001; each is in one split."),
                    "sequence": tfds.features.Text(doc="The video's; one for each subject."),
                    "frame": tfds.features.Scalar(np.int64, doc="As in the label files: the first is 1."),
                    "emotion": tfds.features.Text(doc="Empty: DISFA codes none."),
                    "tracked": tfds.features.Scalar(
                        np.bool_,
                        doc="False: DISFA's own landmarks are unusable; JAA-Net leaves the frame out.",
                    ),
                    "landmarks": tfds.features.Tensor(
                        shape=(landmarks.POINTS, 2),
                        dtype=np.float32,
                        doc="DISFA's, x and y in pixels of the video; NaN where there are none.",
                    ),
                    "action_units": {
                        "intensity": tfds.features.Tensor(
                            shape=units,
                            dtype=np.uint8,
                            doc="0 (absent) to 5 (maximum), in the order of info.metadata['action_units'].",
                        ),
                        "occurrence": tfds.features.Tensor(
                            shape=units,
                            dtype=np.uint8,
                            doc=f"1 where the intensity is at least {OCCURRENCE_INTENSITY}.",
                        ),
                        "coded": tfds.features.Tensor(
                            shape=units, dtype=np.bool_, doc="False: not coded, and the others say nothing."
                        ),
                    },
                }
            ),
            homepage="http://mohammadmahoor.com/disfa/",
            metadata=tfds.core.MetadataDict(action_units=list(labels.ACTION_UNITS)),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        alignment.check(self, self._aligner)
        camera = self.builder_config.name.removesuffix(configs.SUFFIX)
        subjects, lacking = layout.find(pathlib.Path(dl_manager.manual_dir), camera)
        read = functools.partial(read_subject, aligner=self._aligner, use_landmarks=camera == "left")
        generators = {}
        for part, names in folds.read("disfa").items():
            title = f"disfa/{self.builder_config.name} {part}"
            frames = counts.Counts(
                f"{title}, frames",
                {name: FRAMES_OF.get(name, FRAMES) for name in names},
                known={sequences.NO_FACE: math.inf, NO_LABEL: math.inf, NO_FRAME: len(names)},
                strict=self._strict,
            )
            for name in sorted(lacking.keys() & set(names)):
                frames.skip(lacking[name], name)
            units = dict(zip(_UNITS, OCCURRENCES[part], strict=True))
            tally = sequences.Tally(frames, units, f"{title}, labels from intensity 2 on", self._strict)
            here = [subject for subject in subjects if subject.name in names]
            if here:  # TFDS has no empty splits.
                generators[part] = self._generate_examples(part, here, read, tally)
            else:
                print(f"\n{title}: none of its subjects is there")
        return generators


def read_subject(
    subject: layout.Subject, aligner: alignment.Aligner | None, use_landmarks: bool
) -> Iterator[sequences.Frame]:
    """Yields the frames of a subject's video, which is decoded once, from the first on.

    Args:
      subject: Where its files lie.
      aligner: As of the builder.
      use_landmarks: Whether DISFA's landmarks belong to this camera.

    Raises:
      ValueError: the video has over a frame more or less than there are labels, or a file is damaged.
    """
    with places.Reader() as reader:
        coded = labels.read(reader, subject.labels)
        points_of = {}
        if use_landmarks and subject.landmarks:
            points_of = landmarks.find(reader, subject.landmarks, len(coded))
        number = 0
        for number, image in enumerate(videos.frames(reader.unpack(subject.video)), start=1):
            if number in coded:
                points, notes = _points(reader, points_of.get(number))
                yield _frame(subject.name, number, image, coded[number], points, notes, aligner)
            elif number <= len(coded) + LENGTH_TOLERANCE:
                yield sequences.Frame(f"{subject.name}_{number:04d}", subject.name, reason=NO_LABEL)
            else:
                break
        if abs(number - len(coded)) > LENGTH_TOLERANCE:
            raise ValueError(
                f"{subject.video}: has {'fewer' if number < len(coded) else 'more'} frames than labels: "
                f"{number:,} decoded, {len(coded):,} labels; the video is truncated or of another set: "
                "copy it again."
            )
        for missing in range(number + 1, len(coded) + 1):
            units = _units(*coded[missing])
            yield sequences.Frame(f"{subject.name}_{missing:04d}", subject.name, reason=NO_FRAME, units=units)


def _points(reader, place) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the landmarks of a frame, NaN where there are none, and what is to be noted."""
    nothing = np.full((landmarks.POINTS, 2), np.nan, np.float32)
    if place is None:
        return nothing, ()
    try:
        return landmarks.read(reader, place), ()
    except archives.ArchiveError:
        return nothing, ("landmarks cannot be read",)


def _frame(subject, number, image, label, points, notes, aligner) -> sequences.Frame:
    name = f"{subject}_{number:04d}"
    intensity, coded = label
    units = _units(intensity, coded)
    tracked = not any(number in frames for frames in labels.untracked(subject))
    usable = tracked and bool(np.isfinite(points).all())
    stored = alignment.stored(image, points if usable else None, aligner)
    if stored is None:
        return sequences.Frame(name, subject, reason=sequences.NO_FACE, units=units)
    example = {
        "image": stored,
        "subject": subject,
        "sequence": subject,
        "frame": number,
        "emotion": "",
        "tracked": tracked,
        "landmarks": points,
        "action_units": {
            "intensity": intensity,
            "occurrence": (intensity >= OCCURRENCE_INTENSITY).astype(np.uint8),
            "coded": coded,
        },
    }
    if not coded.all():
        notes = (*notes, "an action unit is not coded")
    return sequences.Frame(name, subject, example, units=units, notes=notes)


def _units(intensity, coded) -> tuple[int, ...]:
    """Returns the action units that occur."""
    occurs = coded & (intensity >= OCCURRENCE_INTENSITY)
    return tuple(unit for unit, present in zip(labels.ACTION_UNITS, occurs, strict=True) if present)
