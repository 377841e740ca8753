"""Faces and their five landmarks, by MTCNN (Zhang et al., IEEE Signal Processing Letters 2016).

The paper used SeetaFace, which gives the same five points. Not for tracking: every picture is taken alone.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

# Longest side of the pictures that MTCNN searches, for faces of 20 pixels or more: 1/25 of the longest side
# of a larger picture. Smaller ones are enlarged, because a face of 20 pixels in 48 is a face to be found.
_LARGEST, _SMALLEST = 512, 96
# The windows are too small for a face that fills the picture; a margin makes it small enough. It comes second
# because with it from the start fewer of the usual faces are found.
_MARGINS = (0.0, 0.2)
_BATCH = 16
_MIRRORED = (1, 0, 2, 4, 3)  # the landmark that each becomes in a mirror
_INPUT_SIDES = (None, 24, 48)  # of P-Net (any), R-Net and O-Net, in pixels


class Face(NamedTuple):
    """A face in a picture; coordinates in its pixels, (0, 0) the outer corner of the top left one.

    Attributes:
        box: left, top, width, height; may reach outside the picture.
        confidence: of MTCNN's last stage, in (0, 1).
        landmarks: `(5, 2)`, see `keras_emoco.align.LANDMARKS`.
    """

    box: tuple[float, float, float, float]
    confidence: float
    landmarks: np.ndarray


class Detector:
    """MTCNN, loaded once: `Detector()(image)` gives the faces of a picture, largest first.

    Runs on the CPU, in TensorFlow whatever the Keras backend. The weights are inside the `mtcnn` package.

    Raises:
        ImportError: `mtcnn` is not installed.
    """

    def __init__(self):
        try:
            import mtcnn
        except ImportError as error:
            raise ImportError("face detection needs MTCNN: pip install 'keras-emoco[align]'") from error
        self._mtcnn = mtcnn.MTCNN()
        for stage, side in zip(self._mtcnn.stages, _INPUT_SIDES, strict=True):
            stage._model = _compiled(stage.model, side)

    def __call__(self, image: np.ndarray) -> list[Face]:
        """The faces of one picture, largest first.

        Args:
            image: uint8 `(height, width, 3)`, RGB.

        Raises:
            ValueError: `image` is something else.
        """
        return self.detect([image])[0]

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Face]]:
        """The faces of each picture, largest first; pictures of one size go through MTCNN together.

        Args:
            images: each as for `__call__`; their sizes may differ.

        Raises:
            ValueError: an image is something else.
        """
        for image in images:
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                raise ValueError(
                    f"expected uint8 images (height, width, 3); got {image.dtype} {image.shape}: use "
                    "read_image"
                )
        faces = [[] for _ in images]
        for margin in _MARGINS:
            # Pictures of different sizes in one call of MTCNN would be padded, and 1.0.0 attributes the
            # padding wrongly when one of them has no face.
            for indices in _same_shape([i for i, found in enumerate(faces) if not found], images):
                for index, found in zip(
                    indices, self._search([images[i] for i in indices], margin), strict=True
                ):
                    faces[index] = found
        return faces

    def _search(self, images, margin):
        """The faces of each of at most `_BATCH` pictures of one shape, searched with a black margin."""
        height, width = images[0].shape[:2]
        longest = max(height, width)
        scale = min(max(longest, _SMALLEST), _LARGEST) / longest
        size = max(1, round(width * scale)), max(1, round(height * scale))
        border = round(margin * max(size))
        # MTCNN computes in the type it is given, and in doubles for uint8.
        batch = [np.pad(_resized(i, size), [(border,) * 2] * 2 + [(0, 0)]).astype(np.float32) for i in images]
        rows = self._mtcnn.detect_faces(
            batch, box_format="xyxy", output_type="numpy", postprocess=False, fit_to_image=False
        )
        faces = [[] for _ in images]
        ratio = np.array([width / size[0], height / size[1]])
        # A row: index, left, top, right, bottom, confidence, five x, five y.
        for row in rows:
            corners = (row[1:5].reshape(2, 2) - border) * ratio
            # MTCNN adds 1 to the side of the box that the landmarks are shares of, and subtracts 1 from them.
            landmarks = (row[6:16].reshape(2, 5).T + 0.5 - border) * ratio
            box = tuple(map(float, (*corners[0], *(corners[1] - corners[0]))))
            faces[int(row[0])].append(Face(box, float(row[5]), landmarks))
        return [sorted(found, key=lambda face: -face.box[2] * face.box[3]) for found in faces]


def _same_shape(indices, images):
    """Batches of the indices whose images have one shape."""
    groups = {}
    for index in indices:
        groups.setdefault(images[index].shape, []).append(index)
    for group in groups.values():
        for start in range(0, len(group), _BATCH):
            yield group[start : start + _BATCH]


def _resized(image, size):
    if size == (image.shape[1], image.shape[0]):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0))


def _compiled(model: keras.Model, side: int | None) -> Callable:
    """One of MTCNN's networks as one TensorFlow function; O-Net's landmarks are averaged with its mirror's.

    MTCNN takes for granted that Keras computes with TensorFlow, and calls its layers one by one, which takes
    several times longer than what they compute. A face and its mirror image differ by 3% of the distance of
    the eyes in MTCNN's landmarks; their mean has less noise and no side.
    """
    layers = model.layers
    weights = {
        layer.name: [tf.constant(keras.ops.convert_to_numpy(weight)) for weight in layer.weights]
        for layer in layers
    }
    # All layers are in a row up to the last PReLU; the others are the heads upon it, in the order returned.
    trunk = 1 + max(i for i, layer in enumerate(layers) if isinstance(layer, keras.layers.PReLU))

    def heads(x):
        for layer in layers[:trunk]:
            x = _apply(layer, weights[layer.name], x)
        return [_apply(layer, weights[layer.name], x) for layer in layers[trunk:]]

    def heads_of_patches(x):
        # Where no box is left there is no patch, and TensorFlow's convolution of none has another shape. A
        # tf.pad for the additional patch would be merged into the convolution, and lost.
        x = tf.concat([x, tf.zeros((1, side, side, 3))], axis=0)
        outputs = heads(x)
        if len(outputs) == 3:
            box, landmarks, score = outputs
            outputs = [box, (landmarks + _mirrored(heads(x[:, :, ::-1])[1])) / 2, score]
        return [output[:-1] for output in outputs]

    network = heads if side is None else heads_of_patches
    signature = [tf.TensorSpec((None, side, side, 3), tf.float32)]
    return tf.function(network, input_signature=signature, autograph=False)


def _mirrored(landmarks):
    """O-Net's landmarks (n, 10), five x and five y in shares of the box, of the mirrored box."""
    x, y = (tf.gather(half, _MIRRORED, axis=1) for half in tf.split(landmarks, 2, axis=1))
    return tf.concat([1 - x, y], axis=1)


def _apply(layer, weights, x):
    match layer:
        case keras.layers.PReLU():
            return tf.nn.relu(x) - weights[0] * tf.nn.relu(-x)
        case keras.layers.MaxPooling2D():
            return tf.nn.max_pool2d(x, layer.pool_size, layer.strides, layer.padding.upper())
        case keras.layers.Permute():
            return tf.transpose(x, (0, *layer.dims))
        case keras.layers.Flatten():
            return tf.reshape(x, (-1, math.prod(x.shape[1:])))
        case keras.layers.Conv2D():
            x = tf.nn.conv2d(x, weights[0], layer.strides, layer.padding.upper()) + weights[1]
        case keras.layers.Dense():
            x = x @ weights[0] + weights[1]
        case _:
            raise TypeError(f"no TensorFlow function for MTCNN's layer {layer}: use mtcnn 1.0")
    return tf.nn.softmax(x) if layer.activation is keras.activations.softmax else x
