"""Faces of a data set nearest to a face from outside it, within one emotion. `trainers.demo` shows them."""

import dataclasses
import pathlib

import keras
import numpy as np
import tensorflow_datasets as tfds

from trainers import data, features, neighbours, predictor, probe

VOTERS = 20


class Gallery:
    """Labelled faces, and what an encoder makes of them.

    Args:
        faces: the faces; folds are not used.
        x: `(n, F)` their features.
        encoder: that computed them.
        image_size: side of its images in pixels.
        center_crop: whether it sees the central 224/256 of a picture, not the whole.
    """

    def __init__(
        self, faces: probe.Faces, x: np.ndarray, encoder: keras.Model, image_size: int, center_crop: bool
    ):
        self.emotions = [str(name) for name in np.unique(faces.emotions) if name]
        self._faces, self._x, self._encoder = faces, x, encoder
        self._view = predictor.view_function(image_size, center_crop)

    def emotion_of(self, crop: np.ndarray) -> str:
        """The commonest emotion of the `VOTERS` labelled faces nearest to a face by the cosine of features.

        Args:
            crop: an aligned face, uint8 `(256, 256, 3)`.
        """
        labelled = np.flatnonzero(self._faces.emotions != "")
        x = self._x[labelled]
        cosines = x @ self._features(crop)[0] / np.linalg.norm(x, axis=1)
        voters = labelled[np.argsort(-cosines, kind="stable")[:VOTERS]]
        names, votes = np.unique(self._faces.emotions[voters], return_counts=True)
        return str(names[votes.argmax()])

    def nearest(self, crop: np.ndarray, emotion: str, count: int = 6) -> list[tuple[np.ndarray, str]]:
        """The faces of an emotion nearest to a face by the cosine of their features.

        Args:
            crop: an aligned face, uint8 `(256, 256, 3)`.
            emotion: one of `emotions`.
            count: of the faces, at most.

        Returns:
            List of (uint8 `(height, width, 3)`, the action units of the face, as far as the data tells).
        """
        faces, last = self._faces, len(self._x)
        # The face asked about becomes one more, of a person of its own, and the only one to be tested.
        asked = dataclasses.replace(
            faces,
            occurrence=np.pad(faces.occurrence, [(0, 1), (0, 0)]),
            coded=np.pad(faces.coded, [(0, 1), (0, 0)]),
            subjects=np.append(np.arange(last), -1),
            emotions=np.append(faces.emotions, emotion),
            folds=[(np.arange(last), np.array([last]))],
        )
        x = np.concatenate([self._x, self._features(crop)])
        [[_, *found]] = neighbours.nearest(asked, x, count)
        pictures = neighbours.pictures(faces, np.array(found, int))
        return [(_rgb(pictures[row]), self._caption(row)) for row in found]

    def _features(self, crop):
        return np.asarray(self._encoder.predict_on_batch(self._view(crop)[None]), np.float32)

    def _caption(self, row):
        return f"AU {neighbours.caption(self._faces, row)}" if self._faces.action_units else ""


def _rgb(picture):
    return np.broadcast_to(picture, (*picture.shape[:2], 3))


def load(builder, encoder: keras.Model, image_size: int, center_crop: bool, max_faces: int) -> Gallery:
    """The gallery of a data set's training split, or of its first where none is called `train`.

    Args:
        builder: a prepared TFDS builder.
        encoder: images to `(batch, F)` features.
        image_size: side of its images in pixels.
        center_crop: as for `Gallery`.
        max_faces: use so many faces, the first.

    Raises:
        ValueError: no face has an emotion.
    """
    info = builder.info
    examples = data.examples(builder, "train" if "train" in info.splits else next(iter(info.splits)))
    examples = examples.take(max_faces)
    rows = probe.labels(examples)
    emotions = data.emotions(builder, [row["emotion"] for row in rows]) if "emotion" in info.features else []
    if not any(emotions):
        raise ValueError(f"--dataset={info.full_name} has no emotions to choose from: name a set that has")
    units = [int(unit) for unit in info.metadata["action_units"]] if "action_units" in info.features else []
    codes = [row.get("action_units", {}) for row in rows]
    occurrence = [code.get("occurrence", np.zeros(len(units))) for code in codes]
    coded = [code.get("coded", np.ones(len(units))) for code in codes]
    faces = probe.Faces(
        examples,
        units,
        np.stack(occurrence).astype(int),
        np.stack(coded).astype(bool),
        np.arange(len(rows)),
        np.array(emotions),
        [],
    )
    x = probe.features(encoder, examples, image_size, center_crop)
    return Gallery(faces, x, encoder, image_size, center_crop)


def built_for(file: pathlib.Path, data_dir: str | None) -> str | None:
    """The data set with emotions that the run beside a file was trained on, where it is built; else None."""
    name = features.read_run(file).get("settings", {}).get("dataset")
    if not name:
        return None
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        return None
    return name if builder.is_prepared() and "emotion" in builder.info.features else None
