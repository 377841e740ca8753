"""TFDS builder of SyntheticFaces, drawn by the modules beside it: no download, no manual directory.

Not for other renderings or other shares of the expressions: the data set is one fixed set of images.
"""

import io
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from tfds_builders import counts, sequences
from tfds_builders.synthetic_faces.expressions import EXPRESSIONS
from tfds_builders.synthetic_faces.faces import Face, sample_face
from tfds_builders.synthetic_faces.render import IMAGE_SIZE, encode, render
from tfds_builders.synthetic_faces.rig import landmarks, pose
from tfds_builders.synthetic_faces.shapes import ACTION_UNITS

FACES_PER_SUBJECT = 20
SUBJECTS = {"train": range(0, 1000), "test": range(1000, 1200)}

# Faces of each expression, in the order of EXPRESSIONS.
FACES = {
    "train": (5323, 9385, 1797, 972, 457, 277, 1789),
    "test": (1080, 1940, 348, 163, 95, 42, 332),
}

# An action unit occurs from "slight" on (B of A to E); a trace does not count, as is usual on DISFA.
OCCURRENCE_INTENSITY = 2

LANDMARKS = ("left_eye", "right_eye", "nose_tip", "left_mouth_corner", "right_mouth_corner")


class Builder(sequences.SequenceBuilder):
    """Draws SyntheticFaces; the data set's README.md says what is in it."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {
        "1.0.0": "Initial release.",
        "2.0.0": "Landmarks of eyes and mouth corners lie where these are seen; all else is as before.",
    }

    def _info(self) -> tfds.core.DatasetInfo:
        units = len(ACTION_UNITS)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(IMAGE_SIZE, IMAGE_SIZE, 3), encoding_format="jpeg"),
                    "emotion": tfds.features.ClassLabel(names=EXPRESSIONS),
                    "action_units": {
                        "intensity": tfds.features.Tensor(
                            shape=(units,),
                            dtype=np.uint8,
                            doc="0 (absent) to 5 (maximum), in the order of info.metadata['action_units'].",
                        ),
                        "occurrence": tfds.features.Tensor(
                            shape=(units,),
                            dtype=np.uint8,
                            doc=f"1 where the intensity is at least {OCCURRENCE_INTENSITY}.",
                        ),
                    },
                    "subject": tfds.features.Text(doc="The person; none is in two splits."),
                    "landmarks": tfds.features.Tensor(
                        shape=(len(LANDMARKS), 2),
                        dtype=np.float32,
                        doc=f"x, y in pixels of {', '.join(LANDMARKS)}; left is left in the image, "
                        "(0, 0) the outer corner of the top left pixel.",
                    ),
                }
            ),
            supervised_keys=("image", "emotion"),
            metadata=tfds.core.MetadataDict(action_units=list(ACTION_UNITS), landmarks=list(LANDMARKS)),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict:
        return {split: self._faces(split, subjects) for split, subjects in SUBJECTS.items()}

    def _faces(self, split: str, subjects: range):
        title = f"synthetic_faces {split}"
        documented = dict(zip(EXPRESSIONS, FACES[split], strict=True))
        table = counts.Counts(title, documented, strict=self._strict)
        return self._generate_examples(split, subjects, draw, sequences.Tally(table, {}, title, self._strict))


def draw(subject: int) -> Iterator[sequences.Frame]:
    """Draws all faces of a person."""
    for index in range(FACES_PER_SUBJECT):
        face = sample_face(subject, index)
        yield sequences.Frame(f"{subject:04d}-{index:02d}", face.expression, _example(face))


def _example(face: Face) -> dict:
    intensity = np.array(face.intensities, np.uint8)
    return {
        "image": io.BytesIO(encode(render(face), face.shot.quality)),
        "emotion": face.expression,
        "action_units": {
            "intensity": intensity,
            "occurrence": (intensity >= OCCURRENCE_INTENSITY).astype(np.uint8),
        },
        "subject": f"{face.subject:04d}",
        "landmarks": landmarks(pose(face)),
    }
