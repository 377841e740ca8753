"""Arguments of any type and value: an error of ours that names the argument, or what works.

Which values are right is said here a second time, apart from the library's checks.
"""

import functools
import math
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_emoco
from keras_emoco import align, augment, encoders, optimizers

EXAMPLES = int(os.environ.get("EMOCO_FUZZ", "25"))
ODD = (
    *(None, True, "", "x", "3", b"1", [], {}, (1,), (0.5, 0.5), (0.9, 0.2), (0.5, 0.5, 0.5), object),
    *(float("nan"), float("inf"), -float("inf"), 10**400, -(10**400), 2**63, 1e308, 2.5, 2.0, -1, -0.5),
    *(0, 1, 2, 3, 4, 8, 0.0, 0.2, 0.5, 0.999, 1.0, np.int64(3), np.float32(0.5), np.array([1, 2])),
)
any_value = st.one_of(st.sampled_from(ODD), st.integers(-5, 64), st.floats(-2.0, 2.0))


def few(share=1.0):
    return settings(
        max_examples=max(2, round(EXAMPLES * share)),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def whole(value, least=1, most=2**31 - 1):
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def integral(value, least, most=2**63 - 1):
    return whole(value, least, most) or (isinstance(value, np.integer) and least <= value <= most)


def number(value, low, high=math.inf, open_low=False, open_high=False):
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.number)):
        return False
    if isinstance(value, int) and abs(value) > 10**300:
        return False
    return math.isfinite(value) and (low < value if open_low else low <= value) and (
        value < high if open_high else value <= high
    )  # fmt: skip


def encoder():
    return keras.Sequential([keras.Input((4, 4, 3)), keras.layers.GlobalAveragePooling2D()])


def check(call, arguments, name, value, valid, where=None):
    """`call(**arguments)` with one exchanged: works where that is valid, else says which one was wrong."""
    if valid(value):
        return call(**{**arguments, name: value})
    with pytest.raises((ValueError, TypeError)) as caught:
        call(**{**arguments, name: value})
    assert (where or name) in str(caught.value), caught.value
    return None


positive, share = functools.partial(number, low=0, open_low=True), functools.partial(number, low=0, high=1)
not_negative = functools.partial(number, low=0)
momentum = functools.partial(number, low=0, high=1, open_high=True)
seed = lambda value: value is None or whole(value, 0, 2**31 - 3)  # noqa: E731

EMOCO = {
    "num_classes": whole, "projection_dim": whole, "hidden_dim": whole, "queue_size": whole, "seed": seed,
    "temperature": positive, "emotion_weight": not_negative, "contrastive_weight": not_negative,
    "momentum": momentum, "dictionary": lambda value: False, "normalization": lambda value: False,
}  # fmt: skip


@given(name=st.sampled_from(sorted(EMOCO)), value=any_value)
@few()
def test_emoco(name, value):
    small = {"num_classes": 2, "projection_dim": 2, "hidden_dim": 2, "queue_size": 2}
    check(lambda **a: keras_emoco.EmoCo(encoder(), **a), small, name, value, EMOCO[name])


DICTIONARY = {"num_classes": whole, "queue_size": whole, "dim": whole, "seed": seed}


@given(name=st.sampled_from(sorted(DICTIONARY)), value=any_value)
@few()
def test_dictionary(name, value):
    small = {"num_classes": 2, "queue_size": 3, "dim": 4}
    made = check(keras_emoco.MultiQueueDictionary, small, name, value, DICTIONARY[name])
    if made is not None:
        assert tuple(made.queues.shape) == (made.num_classes, made.queue_size, made.dim)


OPTIMIZERS = {
    ("sgd", "learning_rate"): not_negative,
    ("sgd", "momentum"): momentum,
    ("sgd", "weight_decay"): not_negative,
    ("cosine", "base"): positive,
    ("cosine", "batch_size"): positive,
    ("cosine", "steps"): positive,
}


@given(which=st.sampled_from(sorted(OPTIMIZERS)), value=any_value.filter(lambda v: not callable(v)))
@few()
def test_optimizers(which, value):
    function, name = which
    right = {"sgd": {"learning_rate": 0.1}, "cosine": {"base": 0.03, "batch_size": 2, "steps": 4}}[function]
    check(getattr(optimizers, function), right, name, value, OPTIMIZERS[which])


@given(value=any_value)
@few(0.5)
def test_momentum_encoder(value):
    check(keras_emoco.MomentumEncoder, {}, "momentum", value, momentum)


def different_units(value):
    if not isinstance(value, (list, tuple, np.ndarray)):
        return False
    return (
        len(value) > 0
        and all(float(v).is_integer() and v >= 1 for v in value)
        and len(set(value)) == len(value)
    )


UNITS = st.one_of(any_value, st.lists(st.integers(-1, 30), max_size=4))


@given(value=UNITS, name=st.sampled_from(["action_units", "threshold"]))
@few()
def test_f1(value, name):
    valid = {"action_units": different_units, "threshold": momentum}[name]
    check(keras_emoco.metrics.F1PerActionUnit, {}, name, value, valid)


@given(
    value=st.one_of(UNITS, st.lists(st.floats(), min_size=2, max_size=2)),
    name=st.sampled_from(["action_units", "positive_weights"]),
)
@few()
def test_au_detector(value, name):
    def weights(value):
        right = isinstance(value, (list, tuple, np.ndarray)) and len(value) == 2
        return value is None or (right and all(positive(v) for v in value))

    valid = {"action_units": different_units, "positive_weights": weights}[name]
    small = {"action_units": (1, 2), "frozen": True}
    check(lambda **a: keras_emoco.AUDetector(encoder(), **a), small, name, value, valid)


@given(value=any_value, name=st.sampled_from(["backbone", "image_size"]))
@few()
def test_encoders_build(value, name):
    if name == "image_size" and (value is None or whole(value)):
        return  # A ResNet of seconds; tests/keras_emoco/test_encoders.py has those.
    where = "encoder" if name == "backbone" else None
    right = {"backbone": "resnet18", "image_size": 32}
    check(encoders.build, right, name, value, lambda v: False, where)


def pair(value, most):
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and number(value[0], 0, value[1], open_low=True)
        and value[1] <= most
    )


POLICY = {
    **dict.fromkeys(("brightness", "contrast", "saturation"), not_negative),
    **{f"{name}_probability": share for name in ("jitter", "grayscale", "blur", "flip")},
    "hue": functools.partial(number, low=0, high=0.5),
    "crop_scale": functools.partial(pair, most=1), "blur_sigma": functools.partial(pair, most=70),
}  # fmt: skip


@given(name=st.sampled_from(sorted(POLICY)), value=any_value)
@few(2)
def test_policy(name, value):
    check(augment.Policy, {}, name, value, POLICY[name])


EIGHT = np.arange(8)
VIEWS = {
    "image_size": lambda v: integral(v, 2, 64), "batch_size": lambda v: integral(v, 1, 8),
    "seed": lambda v: integral(v, -(2**63), 2**63 - 1), "first_step": lambda v: integral(v, 0),
    "shuffle_buffer": lambda v: integral(v, 1), "num_shards": lambda v: integral(v, 1) and 4 % v == 0,
    "num_examples": lambda v: v is None or v == 8,
}  # fmt: skip


def eight_faces():
    images = np.zeros((8, 4, 4, 3), np.uint8)
    return tf.data.Dataset.from_tensor_slices((images, EIGHT))


@given(name=st.sampled_from(sorted(VIEWS)), value=any_value)
@few(0.5)
def test_two_views(name, value):
    def call(**arguments):
        batches = augment.two_views(eight_faces(), policy=augment.Policy(blur_probability=0.0), **arguments)
        return arguments, batches

    if name == "num_examples" and not isinstance(value, (int, type(None))):
        return  # Compared with the number that the data has; only 8 is equal.
    made = check(call, {"image_size": 2, "batch_size": 4}, name, value, VIEWS[name])
    if made is None:
        return
    arguments, batches = made
    share = arguments["batch_size"] // arguments.get("num_shards", 1)
    (query, key), labels = next(iter(batches))
    size = arguments["image_size"]
    assert query.shape == key.shape == (share, size, size, 3)
    assert np.isfinite(query).all()
    assert len(set(labels.numpy())) == share, "no face twice in an epoch"


@given(batch=st.integers(1, 8), shards=st.integers(1, 4), first=st.integers(0, 20), seed=st.integers(0, 99))
@few(0.12)
def test_an_epoch_has_each_face_at_most_once_whatever_the_batch(batch, shards, first, seed):
    if batch % shards:
        return
    policy = augment.Policy(jitter_probability=0.0, blur_probability=0.0, grayscale_probability=0.0)
    steps = 8 // batch
    columns = []
    for shard in range(shards):
        batches = augment.two_views(
            eight_faces(),
            2,
            batch,
            policy=policy,
            seed=seed,
            first_step=first * steps,
            num_shards=shards,
            shard=shard,
        )
        columns.append([labels for _, labels in batches.take(steps).as_numpy_iterator()])
    seen = np.concatenate([np.concatenate(parts) for parts in zip(*columns, strict=True)])
    assert len(seen) == steps * batch == len(set(seen.tolist()))


@given(name=st.sampled_from(["image_size", "batch_size", "resize_to"]), value=any_value)
@few(0.5)
def test_images(name, value):
    least = {"image_size": 2, "batch_size": 1, "resize_to": 3}[name]
    valid = lambda v: integral(v, least, 64) or (name == "resize_to" and v is None)  # noqa: E731
    made = check(
        functools.partial(augment.images, eight_faces()),
        {"image_size": 3, "batch_size": 3},
        name,
        value,
        valid,
    )
    if made is not None:
        assert sum(len(views) for views, _ in made) == 8


# Alignment.

coordinate = st.one_of(st.floats(-100, 100), st.sampled_from([float("nan"), float("inf"), 1e-9, 1e9, 1e30]))


@given(
    points=st.lists(st.tuples(coordinate, coordinate), min_size=4, max_size=6),
    size=st.sampled_from([1, 16, 0, -1, 2.5, "x", None, True]),
)
@few(2)
def test_crop(points, size):
    image, face = np.full((20, 30, 3), 7, np.uint8), None
    reasons = {
        "landmarks": len(points) != 5,
        "coordinates": not np.isfinite(points).all(),
        "size": not whole(size),
    }
    try:
        face = align.crop(image, np.array(points), size)
    except ValueError as error:
        # Points in one place have no scale, and those of 1e30 pixels none that float64 can tell.
        reasons["distinct source points"] = reasons["resemble a face"] = True
        named = [reason for reason, wrong in reasons.items() if wrong and reason in str(error)]
        said = str(error)
    if face is None:
        assert named, said
    else:
        assert not any(reasons.values())
        assert face.shape == (size, size, 3)
        assert face.max() <= 7


@given(
    angle=st.floats(-3.1, 3.1),
    scale=st.floats(0.01, 100),
    shift=st.tuples(st.floats(-99, 99), st.floats(-99, 99)),
    count=st.integers(2, 9),
    seed=st.integers(0, 99),
)
@few()
def test_similarity_finds_the_one_that_was_made(angle, scale, shift, count, seed):
    made = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    source = np.random.default_rng(seed).normal(size=(count, 2))
    found = align.similarity(source, source @ made.T + shift)
    np.testing.assert_allclose(found, np.column_stack([made, shift]), atol=1e-6 * (1 + scale))


@given(data=st.binary(max_size=200))
@few()
def test_bytes_that_are_no_picture(data):
    with pytest.raises(ValueError, match="cannot read <bytes>"):
        align.read_image(data)
