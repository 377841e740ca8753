"""From pictures to faces with probabilities of action units, for `trainers.predict` and `trainers.demo`.

Not for reading files, nor for drawing.
"""

import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

import keras_emoco
from keras_emoco import align, augment
from trainers import export, features

_BATCH = 32  # crops that go through the detector together


class Face(NamedTuple):
    """A face in a picture, and what the detector says of it.

    Attributes:
        place: box, confidence and landmarks in pixels of the picture.
        crop: uint8 `(256, 256, 3)`, the face aligned.
        probabilities: `(A,)`, in the order of the detector's action units.
    """

    place: align.Face
    crop: np.ndarray
    probabilities: np.ndarray


class Predictor:
    """Finds the faces of pictures, aligns them, gives the probability of each action unit.

    Args:
        detector: with `A` action units.
        image_size: side of its images in pixels.
        center_crop: whether it sees the central 224/256 of an aligned face, not the whole.

    Raises:
        ImportError: a package of the extra `align` is missing.
    """

    def __init__(self, detector: keras_emoco.AUDetector, image_size: int, center_crop: bool):
        self.detector, self.image_size, self.center_crop = detector, image_size, center_crop
        self.names = [f"AU{unit}" for unit in detector.action_units]
        self.view = view_function(image_size, center_crop)
        self._find = align.Detector()

    def __call__(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of each picture, largest first.

        Args:
            images: uint8 `(height, width, 3)` each, RGB; their sizes may differ.
        """
        places = self._find.detect(images)
        crops = [
            align.crop(image, face.landmarks)
            for image, found in zip(images, places, strict=True)
            for face in found
        ]
        rows = iter(zip(crops, self.probabilities(crops), strict=True))
        return [[Face(place, *next(rows)) for place in found] for found in places]

    def probabilities(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """`(n, A)` of aligned faces, uint8 `(256, 256, 3)` each."""
        found = [np.zeros((0, len(self.names)), np.float32)]
        for start in range(0, len(crops), _BATCH):
            views = np.stack([self.view(crop) for crop in crops[start : start + _BATCH]])
            # Every new number of faces would be compiled anew; powers of two are few.
            padding = (1 << (len(views) - 1).bit_length()) - len(views)
            outputs = self.detector.predict_on_batch(np.pad(views, [(0, padding)] + [(0, 0)] * 3))
            found.append(np.asarray(outputs["probabilities"])[: len(views)])
        return np.concatenate(found)


def view_function(image_size: int, center_crop: bool) -> Callable[[np.ndarray], np.ndarray]:
    """From an aligned face to what a network sees of it, `augment.center_view`, compiled once."""
    view = tf.function(
        functools.partial(augment.center_view, image_size=image_size, crop=center_crop),
        input_signature=[tf.TensorSpec((align.SIZE, align.SIZE, 3), tf.uint8)],
    )

    def on_cpu(crop):
        with tf.device("CPU:0"):  # Where training had its pictures resized, whatever computes the rest.
            return view(crop).numpy()

    return on_cpu


def load(path: pathlib.Path, image_size: int | None = None, center_crop: bool | None = None) -> Predictor:
    """The predictor of a saved detector.

    Args:
        path: file of a saved `keras_emoco.AUDetector`.
        image_size: side of its images in pixels, where it takes any.
        center_crop: as for `Predictor`; None for what the run beside the file has.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no detector, or `image_size` is missing, not positive, or not the detector's.
        ImportError: a package of the extra `align` is missing.
    """
    if image_size is not None and image_size < 2:
        raise ValueError(f"--image_size must be at least 2; got {image_size}")
    detector = export.load_detector(path)
    side = detector.encoder.input_shape[1]
    if None not in (side, image_size) and side != image_size:
        raise ValueError(f"--image_size={image_size}, but --detector={path} takes {side}: leave the flag out")
    if side is None and image_size is None:
        raise ValueError(f"--detector={path} takes images of any size: choose one by --image_size")
    if center_crop is None:
        center_crop = features.center_crop(path)
    return Predictor(detector, side or image_size, center_crop)
