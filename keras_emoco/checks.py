"""What is checked before hours are spent: settings, labels, views. Every error names the remedy."""

import contextlib
import math
import numbers
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def whole_number(name: str, value: Any, least: int = 1) -> None:
    """Raise ValueError for what is no int of 31 bits and at least `least`; NumPy's cannot go into a file."""
    if isinstance(value, int) and value >= 2**31:
        raise ValueError(f"{name} must be below 2147483648; got {value!r:.99}")
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        expected = "a positive integer" if least == 1 else f"an integer of at least {least}"
        raise ValueError(f"{name} must be {expected}; got {value!r:.99}")


def number(name: str, value: Any, expected: str, valid: Callable[[float], bool]) -> None:
    """Raise ValueError for what is no finite number, or is not valid."""
    try:
        right = isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # An integer larger than any float.
        right = False
    if not (right and valid(value)):
        raise ValueError(f"{name} must be {expected}; got {value!r:.99}")


def shapes(**named) -> dict[str, int | None]:
    """Raise ValueError for tensors whose shapes do not fit each other.

    Args:
        **named: for each tensor itself and a letter for each of its axes; one letter stands for one size.

    Returns:
        The size of each letter, None where it is not known yet.
    """
    sizes, wrong = {}, False
    for tensor, letters in named.values():
        shape = _shape(tensor)
        if shape is None:
            continue
        wrong = wrong or len(shape) != len(letters)
        for letter, size in zip(letters, shape, strict=False):
            known = sizes.get(letter)
            wrong = wrong or (None not in (known, size) and known != size)
            sizes[letter] = size if known is None else known
    if wrong:
        expected = ", ".join(f"{name} ({', '.join(letters)})" for name, (_, letters) in named.items())
        got = ", ".join(f"{name} {_shape(tensor)}" for name, (tensor, _) in named.items())
        raise ValueError(f"expected shapes {expected}; got {got}")
    return sizes


def _shape(tensor):
    """A tuple, with None for sizes that are not known yet; None where their number is not."""
    shape = tensor.shape if hasattr(tensor, "shape") else np.shape(tensor)
    return None if getattr(shape, "rank", 0) is None else tuple(shape)


def labels(labels, num_classes: int | None) -> None:
    """Raise ValueError for NumPy arrays or lists of what is no label; tensors may not be known yet.

    Args:
        labels: whole numbers in `[0, num_classes)`.
        num_classes: or None, where any whole number will do.
    """
    if keras.ops.is_tensor(labels):
        return
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iufb":
        raise ValueError(f"labels must be whole numbers; got {labels.dtype}")
    flat = labels.reshape(-1)
    # NaN is in no range.
    right = (flat >= 0) & (flat < (np.inf if num_classes is None else num_classes)) & (flat == np.floor(flat))
    if not right.all():
        index = int(np.argmin(right))
        raise ValueError(_label_message(flat[index], index, num_classes))


def occurrence(labels) -> None:
    """Raise ValueError for NumPy arrays or lists of action units above 1, such as intensities."""
    if keras.ops.is_tensor(labels):
        return
    labels = np.asarray(labels)
    if labels.dtype.kind not in "iufb" or (labels > 1).any():
        got = labels.dtype if labels.dtype.kind not in "iufb" else labels[labels > 1].flat[0]
        raise ValueError(
            "labels of action units are 1 present, 0 absent, NaN or negative not coded; got "
            f"{got} (an intensity?): compare intensities with the least that counts as present"
        )


def action_units(units) -> None:
    """Raise ValueError for what is no list of different action units."""
    try:
        right = [unit for unit in units if int(unit) == unit and unit >= 1]
        right = len(set(right)) == len(list(units)) > 0
    except (TypeError, ValueError, OverflowError):
        right = False
    if not right:
        raise ValueError(f"action_units must be different positive integers; got {units!r:.99}")


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
    key_statistics,
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
        whole_number(name, value)
    for name, value, allowed in (
        ("dictionary", dictionary, ("per_class", "shared")),
        ("normalization", normalization, ("intra_class", "l2")),
        ("key_statistics", key_statistics, ("batch", "moving")),
    ):
        if value not in allowed:
            raise ValueError(f"{name} must be one of {allowed}; got {value!r}")
    number("temperature", temperature, "positive", lambda value: value > 0)
    for name, value in (("emotion_weight", emotion_weight), ("contrastive_weight", contrastive_weight)):
        number(name, value, "a number of at least 0", lambda value: value >= 0)
    if not emotion_weight and not contrastive_weight:
        raise ValueError("emotion_weight and contrastive_weight are both 0: nothing would be trained")
    number("momentum", momentum, "a number in [0, 1)", lambda value: 0.0 <= value < 1.0)
    if prototype_norm is not None:
        number("prototype_norm", prototype_norm, "positive, or None", lambda value: value > 0)
    seed_or_none(seed)


def seed_or_none(seed) -> None:
    """Raise ValueError for a seed that not every backend takes; two are added to it."""
    if seed is not None and (
        isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**31 - 2
    ):
        raise ValueError(f"seed must be None or an integer from 0 to 2147483645; got {seed!r:.99}")


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
        labels(keras.ops.convert_to_numpy(y), num_classes)
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
    # NaN is in no range.
    wrong = tf.where(~((flat >= 0) & (flat < tf.cast(num_classes, flat.dtype))))[:, 0]
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
        f"labels must lie in [0, {num_classes or 'classes'}); got {value} at index {index} of the batch "
        "(AffectNet's 'Uncertain'?): filter such examples, or set num_classes to the data's"
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
