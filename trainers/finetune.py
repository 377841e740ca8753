"""The finetuning protocol of one fold: train the whole network on the training faces, predict others.

The paper gives no schedule for it; "EmoCo converges in less than 5 epochs when being finetuned" (IV.D). The
length is fixed beforehand, so nothing is chosen by looking at the test fold.
"""

import dataclasses
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_emoco
from keras_emoco import augment
from trainers import probe


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a detector is finetuned.

    Attributes:
        image_size: side of the encoder's input in pixels.
        center_crop: predict on the central 224/256 of each picture, not the whole.
        epochs: passes over the training faces.
        batch_size: faces in one step.
        base_learning_rate: at a batch of 256; cosine to zero.
        balanced: weigh a present unit by its absent / present training faces.
    """

    image_size: int
    center_crop: bool = False
    epochs: int = 5
    batch_size: int = 64
    base_learning_rate: float = 0.03
    balanced: bool = False


def train(encoder: keras.Model, faces: probe.Faces, rows: np.ndarray, recipe: Recipe, seed: int):
    """An `AUDetector` trained on some faces; the encoder is trained in place.

    Args:
        encoder: a freshly loaded encoder.
        faces: pictures and labels.
        rows: the training rows.
        recipe: how.
        seed: of the classifier's weights, the order of the faces and their views.

    Raises:
        ValueError: fewer faces than one batch.
        FloatingPointError: the loss became NaN or infinite.
    """
    steps_per_epoch = len(rows) // recipe.batch_size
    if steps_per_epoch == 0:
        raise ValueError(
            f"--batch_size={recipe.batch_size} exceeds the {len(rows)} training faces of a fold: lower it"
        )
    keras.utils.set_random_seed(seed)
    encoder.trainable = True
    detector = keras_emoco.AUDetector(
        encoder,
        faces.action_units,
        frozen=False,
        positive_weights=_balance(faces, rows) if recipe.balanced else None,
    )
    schedule = keras_emoco.optimizers.cosine(
        recipe.base_learning_rate, recipe.batch_size, recipe.epochs * steps_per_epoch
    )
    detector.compile(keras_emoco.optimizers.sgd(schedule))
    history = detector.fit(
        batches(faces, rows, recipe, seed),
        steps_per_epoch=steps_per_epoch,
        epochs=recipe.epochs,
        shuffle=False,
        callbacks=[keras.callbacks.TerminateOnNaN()],
        verbose=1 if sys.stdout.isatty() else 2,
    ).history
    if not np.isfinite(history["loss"]).all():
        raise FloatingPointError("the loss is not finite: lower --base_learning_rate")
    return detector


def predict(detector, faces: probe.Faces, rows: np.ndarray, recipe: Recipe) -> np.ndarray:
    """`(len(rows), A)` probabilities of the fixed view of some faces, in the order of the data."""
    views = augment.images(
        probe.subset(faces.examples, rows).map(lambda index, example: example),
        recipe.image_size,
        recipe.batch_size,
        crop=recipe.center_crop,
    )
    return detector.predict(views.map(lambda view, rest: view), verbose=0)["probabilities"]


def batches(faces: probe.Faces, rows: np.ndarray, recipe: Recipe, seed: int) -> tf.data.Dataset:
    """Endless batches of `(view, labels)` of some faces, one random view of MoCo v2 each (IV.B.1).

    Args:
        faces: pictures and labels.
        rows: which of them.
        recipe: batch and image size.
        seed: of order and views.

    Returns:
        Dataset of float32 `(batch, size, size, 3)` and float32 `(batch, A)`, -1 where not coded.
    """
    labels = tf.constant(np.where(faces.coded, faces.occurrence, -1), tf.float32)

    def view(step, element):
        index, example = element
        image = augment.random_view(
            example["image"], tf.stack([tf.constant(seed, tf.int64), step]), recipe.image_size
        )
        return image, labels[index]

    return (
        probe.subset(faces.examples, rows)
        .shuffle(min(len(rows), augment.stream.SHUFFLE_BUFFER), seed=seed)
        .repeat()
        .enumerate()
        .map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(recipe.batch_size, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def _balance(faces, rows):
    present = (faces.coded & (faces.occurrence == 1))[rows].sum(axis=0)
    absent = faces.coded[rows].sum(axis=0) - present
    # A unit with one class only has nothing to weigh against.
    return np.where((present > 0) & (absent > 0), absent / np.maximum(present, 1), 1.0).tolist()
