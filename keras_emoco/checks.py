"""What is checked before hours are spent: settings, labels, views. Every error names the remedy."""

import contextlib
import math

import keras
import numpy as np
import tensorflow as tf


def ends_in_features(encoder) -> None:
    """Raise ValueError for an encoder whose output is not one vector for each image."""
    shape = getattr(encoder, "output_shape", None)
    if (
        not isinstance(encoder, keras.Model)
        or not isinstance(shape, tuple)
        or len(shape) != 2
        or shape[-1] is None
    ):
        raise ValueError(
            f"encoder must be a keras.Model from images to (batch, features); its output is {shape}: "
            "build it with keras_emoco.encoders.build(backbone), which puts global average pooling on top"
        )


def settings(
    encoder,
    num_classes,
    projection_dim,
    hidden_dim,
    queue_size,
    dictionary,
    normalization,
    temperature,
    emotion_weight,
    contrastive_weight,
    momentum,
    prototype_norm,
    seed,
) -> None:
    """Raise ValueError for the first setting of `EmoCo` outside its range."""
    ends_in_features(encoder)
    counts = {
        "num_classes": num_classes,
        "projection_dim": projection_dim,
        "hidden_dim": hidden_dim,
        "queue_size": queue_size,
    }
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive integer; got {value!r}")
    for name, value, allowed in (
        ("dictionary", dictionary, ("per_class", "shared")),
        ("normalization", normalization, ("intra_class", "l2")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {allowed}; got {value!r}")
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be positive; got {temperature}")
    for name, value in (("emotion_weight", emotion_weight), ("contrastive_weight", contrastive_weight)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must not be negative; got {value}")
    if not emotion_weight and not contrastive_weight:
        raise ValueError("emotion_weight and contrastive_weight are both 0: nothing would be trained")
    if not 0.0 <= momentum < 1.0:
        raise ValueError(f"momentum must lie in [0, 1); got {momentum}")
    if prototype_norm is not None and not (math.isfinite(prototype_norm) and prototype_norm > 0):
        raise ValueError(f"prototype_norm must be positive, or None; got {prototype_norm}")
    if seed is not None and not isinstance(seed, int):
        raise ValueError(f"seed must be an integer or None; got {seed!r}")


def optimizer(optimizer) -> None:
    """Raise ValueError for an optimiser whose steps are not the model's steps."""
    if getattr(optimizer, "gradient_accumulation_steps", None):
        raise ValueError(
            "gradient_accumulation_steps would move the key encoder between optimiser steps: use a "
            "larger batch"
        )


def two_views(x):
    """`(query_view, key_view)`, or a ValueError that says how to make them."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        shape = getattr(x, "shape", None)
        raise ValueError(
            f"EmoCo trains on batches of ((query_view, key_view), label); got images of shape {shape} "
            "without a second view: make the views with keras_emoco.augment.two_views"
        )
    return x


def training_data(x, y, num_classes):
    """`x`, checked: labels of arrays at once, those of a `tf.data.Dataset` batch by batch as they pass.

    Raises:
        ValueError: labels outside `[0, num_classes)`, or elements that are not `((query, key), label)`.
    """
    if isinstance(x, tf.data.Dataset):
        return x.map(lambda *element: _checked_element(element, num_classes))
    if y is not None:
        labels = np.asarray(keras.ops.convert_to_numpy(y)).reshape(-1)
        wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
        if wrong.size:
            raise ValueError(_label_message(labels[wrong[0]], wrong[0], num_classes))
    return x


def _checked_element(element, num_classes):
    if len(element) < 2:
        raise ValueError(
            "EmoCo trains on batches of ((query_view, key_view), label); the dataset's elements have no "
            "label: make them with keras_emoco.augment.two_views"
        )
    x, labels, *rest = element
    two_views(x)
    flat = tf.reshape(labels, [-1])
    wrong = tf.where((flat < 0) | (flat >= tf.cast(num_classes, flat.dtype)))[:, 0]
    # Strings cannot be formatted lazily inside an assertion: this runs on the host, once a batch.
    first = tf.concat([wrong, [0]], axis=0)[0]
    message = _label_message("%s", "%s", num_classes).split("%s")
    text = tf.strings.join(
        [message[0], tf.strings.as_string(flat[first]), message[1], tf.strings.as_string(first), message[2]]
    )
    with tf.control_dependencies([tf.debugging.Assert(tf.equal(tf.size(wrong), 0), [text])]):
        labels = tf.identity(labels)
    return (x, labels, *rest)


def _label_message(value, index, num_classes):
    return (
        f"labels must lie in [0, {num_classes}); got {value} at index {index} of the batch (AffectNet's "
        "'Uncertain'?): filter such examples, or set num_classes to the data's"
    )


@contextlib.contextmanager
def readable_data_errors():
    """Turns TensorFlow's report of a failed label check into the ValueError it stands for."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        start = error.message.find("labels must lie in")
        if start < 0:
            raise
        raise ValueError(error.message[start:].split("'data'")[0].split("\n")[0].strip(" ']\"")) from error
