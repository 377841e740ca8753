"""Any input of the public functions ends in an error of ours that names it, or in what NumPy computes.

The examples are the same in each run; `EMOCO_FUZZ=5000` tries so many of each.
"""

import collections
import math
import os

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

import keras_emoco
from keras_emoco import losses

EXAMPLES = int(os.environ.get("EMOCO_FUZZ", "25"))
CHECKS = list(HealthCheck)
numpy = keras.ops.convert_to_numpy
NAN, INF = float("nan"), float("inf")


def few(share=1.0):
    """Bounded, without a clock, and the same in each run."""
    count = max(2, round(EXAMPLES * share))
    return settings(
        max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=CHECKS
    )


# Losses, dictionary, metric: against NumPy.


def unit(rng, *shape):
    x = rng.normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype("float32")


def plain_contrastive(queries, keys, labels, queues, prototypes, temperature):
    """(4) and (5) of the paper, one query after another, in float64."""

    def n(x, w):
        if w is None:
            return x.astype("float64")
        difference = x.astype("float64") - w.astype("float64") / np.linalg.norm(w.astype("float64"))
        norm = np.linalg.norm(difference, axis=-1, keepdims=True)
        # In one dimension a vector may be its prototype, whose N is zero.
        return np.where(norm > 1e-6, difference / np.where(norm > 1e-6, norm, 1.0), 0.0)

    found = []
    for q, k, y in zip(queries, keys, labels, strict=True):
        w = None if prototypes is None else prototypes[y]
        negatives = n(queues[y if len(queues) > 1 else 0], w) @ n(q, w) / temperature
        positive = n(q, w) @ n(k, w) / temperature
        found.append(np.logaddexp.reduce([positive, *negatives]) - positive)
    return np.array(found)


def labels_of(rng, batch, classes, present):
    """Of a batch with at most so many different classes, not in order."""
    return rng.choice(rng.permutation(classes)[: min(present, classes)], batch)


@example(seed=0, batch=3, classes=1000, size=2, dim=4, present=3, shared=False, l2=False, temperature=0.2)
@example(seed=1, batch=1, classes=1, size=1, dim=1, present=1, shared=False, l2=False, temperature=0.2)
@example(seed=2, batch=40, classes=2, size=2049, dim=4, present=1, shared=False, l2=True, temperature=0.05)
@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 40),
    classes=st.integers(1, 9),
    size=st.integers(1, 90),
    dim=st.sampled_from([1, 4, 5, 16]),
    present=st.integers(1, 9),
    shared=st.booleans(),
    l2=st.booleans(),
    temperature=st.floats(0.05, 10.0),
)
@few()
def test_contrastive_loss(seed, batch, classes, size, dim, present, shared, l2, temperature):
    rng = np.random.default_rng(seed)
    labels = labels_of(rng, batch, classes, present)
    queries, keys = unit(rng, batch, dim), unit(rng, batch, dim)
    queues = unit(rng, 1 if shared else classes, size, dim)
    prototypes = None if l2 else rng.normal(size=(classes, dim)).astype("float32")
    loss = losses.contrastive_loss(queries, keys, labels, queues, prototypes, temperature)
    expected = plain_contrastive(queries, keys, labels, queues, prototypes, temperature)
    np.testing.assert_allclose(numpy(loss), expected, rtol=1e-3, atol=1e-3)


BAD_LABELS = st.sampled_from([-1, 3, 99, 0.5, NAN, INF, -INF, 2**40])


@given(bad=BAD_LABELS, at=st.integers(0, 4), function=st.sampled_from(["emotion", "contrastive", "enqueue"]))
@few(0.5)
def test_labels_that_are_none_are_named_or_make_nan(bad, at, function):
    rng = np.random.default_rng(0)
    labels = np.array([0, 1, 2, 1, 0], "int64" if isinstance(bad, int) else "float64")
    labels[at] = bad
    x, queues = unit(rng, 5, 4), unit(rng, 3, 6, 4)
    call = {
        "emotion": lambda labels: losses.emotion_loss(x[:, :3], labels),
        "contrastive": lambda labels: losses.contrastive_loss(x, x, labels, queues),
        "enqueue": keras_emoco.MultiQueueDictionary(3, 6, 4).enqueue,
    }
    call = {name: (lambda labels, f=f: f(x, labels)) if name == "enqueue" else f for name, f in call.items()}
    with pytest.raises(ValueError, match=rf"labels must lie in \[0, 3\); got {bad:g}.* at index {at} of"):
        call[function](labels)
    if isinstance(bad, int) and abs(bad) < 100 and function != "enqueue":
        # A tensor's numbers may not be known when the step is compiled.
        loss = numpy(call[function](keras.ops.convert_to_tensor(labels)))
        assert np.isnan(loss[at])
        assert np.isfinite(np.delete(loss, at)).all()


SHAPES = {
    "queries": (5, 4), "keys": (5, 4), "labels": (5,), "queues": (3, 6, 4), "prototypes": (3, 4),
}  # fmt: skip


@given(name=st.sampled_from(sorted(SHAPES)), shape=st.lists(st.integers(0, 6), max_size=4), t=st.just(0.2))
@few()
def test_shapes_that_do_not_fit_are_named(name, shape, t):
    shape = tuple(shape)
    # One queue for all is right, and so is another length of the queues.
    assume(name != "queues" or len(shape) != 3 or shape[0] not in (1, 3) or shape[2] != 4)
    assume(shape != SHAPES[name])
    arrays = {
        n: np.ones(shape if n == name else s, "int32" if n == "labels" else "float32")
        for n, s in SHAPES.items()
    }
    with pytest.raises(ValueError, match=r"expected (shapes|a queue for each)"):
        losses.contrastive_loss(**arrays, temperature=t)


@example(classes=1000, size=3, batches=[4, 1], present=1000, seed=0)
@example(classes=1, size=5, batches=[12, 7], present=1, seed=0)
@given(
    classes=st.integers(1, 5),
    size=st.integers(1, 9),
    batches=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    present=st.integers(1, 5),
    seed=st.integers(0, 1000),
)
@few()
def test_dictionary_is_a_deque_for_each_class(classes, size, batches, present, seed):
    rng = np.random.default_rng(seed)
    dictionary = keras_emoco.MultiQueueDictionary(classes, size, 2, seed=0)
    deques = [collections.deque(queue, maxlen=size) for queue in numpy(dictionary.queues)]
    for batch in batches:
        labels, keys = labels_of(rng, batch, classes, present), unit(rng, batch, 2)
        dictionary.enqueue(keys, labels)
        for key, label in zip(keys, labels, strict=True):
            deques[label].append(key)
    for queue, pointer, expected in zip(
        numpy(dictionary.queues), numpy(dictionary.pointers), deques, strict=True
    ):
        np.testing.assert_array_equal(np.roll(queue, -int(pointer), axis=0), np.array(expected))


@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 20),
    units=st.integers(1, 12),
    scale=st.sampled_from([0.0, 1.0, 1e3, 1e6]),
    weighted=st.booleans(),
    uncoded=st.sampled_from([0.0, 0.5, 1.0]),
)
@few()
def test_loss_of_action_units(seed, batch, units, scale, weighted, uncoded):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=(batch, units))).astype("float32")
    labels = rng.integers(0, 2, (batch, units)).astype("float32")
    hidden = rng.random((batch, units)) < uncoded
    labels[hidden] = rng.choice([NAN, -1.0, -9.0], hidden.sum())
    weights = rng.uniform(0.1, 9.0, units).astype("float32") if weighted else None
    loss, coded = map(numpy, losses.action_unit_loss(logits, labels, weights))
    y, x = np.where(hidden, 0.0, labels), logits.astype("float64")
    w = 1.0 if weights is None else weights.astype("float64")
    expected = w * y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x)
    np.testing.assert_allclose(loss, np.where(hidden, 0.0, expected), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(coded, ~hidden)


@given(intensity=st.sampled_from([2.0, 5.0, INF]), at=st.integers(0, 2))
@few(0.3)
def test_intensities_are_no_occurrence(intensity, at):
    labels = np.zeros((1, 3), "float32")
    labels[0, at] = intensity
    with pytest.raises(ValueError, match=rf"got {intensity} \(an intensity\?\)"):
        losses.action_unit_loss(np.zeros((1, 3), "float32"), labels)
    loss, _ = losses.action_unit_loss(np.zeros((1, 3), "float32"), keras.ops.convert_to_tensor(labels))
    assert np.isnan(numpy(loss)).sum() == 1


@given(
    seed=st.integers(0, 2**32 - 1),
    batches=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    units=st.integers(1, 5),
    uncoded=st.sampled_from([0.0, 0.5, 1.0]),
    threshold=st.floats(0.0, 0.99),
)
@few()
def test_f1(seed, batches, units, uncoded, threshold):
    rng = np.random.default_rng(seed)
    metric = keras_emoco.metrics.F1PerActionUnit(range(1, units + 1), threshold)
    seen = []
    for batch in batches:
        labels = rng.integers(0, 2, (batch, units)).astype("float32")
        labels[rng.random((batch, units)) < uncoded] = rng.choice([NAN, -1.0])
        probabilities = rng.random((batch, units)).astype("float32")
        metric.update_state(keras.ops.convert_to_tensor(labels), keras.ops.convert_to_tensor(probabilities))
        seen.append((labels, probabilities))
    labels, probabilities = map(np.concatenate, zip(*seen, strict=True))
    expected = []
    for y, p in zip(labels.T, probabilities.T, strict=True):
        coded = y >= 0
        expected.append(
            f1_score(y[coded], p[coded] > np.float32(threshold), zero_division=0) if coded.any() else 0.0
        )
    found = {name: float(numpy(value)) for name, value in metric.result().items()}
    np.testing.assert_allclose([found[f"f1_au{unit}"] for unit in range(1, units + 1)], expected, atol=1e-6)
    assert found["f1"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_f1_of_probabilities_of_another_shape_is_refused():
    # Broadcast they would be counted for each unit.
    with pytest.raises(ValueError, match=r"expected shapes y_true \(B, A\), y_pred \(B, A\); got"):
        keras_emoco.metrics.F1PerActionUnit((1, 2)).update_state(np.zeros((3, 2)), np.zeros((3, 1)))


@given(
    seed=st.integers(0, 2**32 - 1), batch=st.integers(1, 9), classes=st.sampled_from([1, 2, 7, 1000]),
    scale=st.sampled_from([0.0, 1.0, 1e4]),
)  # fmt: skip
@few()
def test_emotion_loss(seed, batch, classes, scale):
    rng = np.random.default_rng(seed)
    logits = (scale * rng.normal(size=(batch, classes))).astype("float32")
    labels = rng.integers(0, classes, batch)
    expected = np.logaddexp.reduce(logits.astype("float64"), axis=-1) - logits[np.arange(batch), labels]
    np.testing.assert_allclose(numpy(losses.emotion_loss(logits, labels)), expected, rtol=1e-5, atol=1e-5)


# Fit: the dictionary after it, against deques of the keys.


@pytest.mark.parametrize(
    ("batch", "size", "classes", "present"),
    [(5, 7, 3, 2), (12, 5, 1, 1), (1, 3, 1000, 1000)],
    ids=[
        "K no multiple of the batch, a class absent",
        "batch above K, one class",
        "B=1, 1,000 classes",
    ],
)
def test_fit_enqueues_every_key_once(batch, size, classes, present):
    rng = np.random.default_rng(0)
    inputs = keras.Input((4, 4, 3))
    outputs = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(6, 3)(inputs))
    model = keras_emoco.EmoCo(
        keras.Model(inputs, outputs), classes, projection_dim=4, hidden_dim=5, queue_size=size, seed=0
    )
    # At a learning rate of zero the key encoder stays, so each key can be computed afterwards.
    model.compile(
        keras_emoco.optimizers.sgd(0.0, weight_decay=0.0), run_eagerly=keras.backend.backend() != "jax"
    )
    x, y = (
        rng.normal(size=(2, 3 * batch, 4, 4, 3)).astype("float32"),
        labels_of(rng, 3 * batch, classes, present),
    )
    deques = [collections.deque(queue, maxlen=size) for queue in numpy(model.dictionary.queues)]
    history = model.fit((x[0], x[1]), y, batch_size=batch, epochs=1, shuffle=False, verbose=0).history
    for key, label in zip(numpy(model.encode_keys(x[1])), y, strict=True):
        deques[label].append(key)
    for queue, pointer, expected in zip(
        numpy(model.dictionary.queues), numpy(model.dictionary.pointers), deques, strict=True
    ):
        np.testing.assert_allclose(np.roll(queue, -int(pointer), axis=0), np.array(expected), atol=1e-5)
    assert math.isfinite(history["loss"][0])


@given(bad=st.sampled_from([-1, 7, NAN, 0.5]), at=st.integers(0, 5))
@few(0.2)
def test_fit_refuses_labels_before_it_begins(bad, at):
    encoder = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.GlobalAveragePooling2D()])
    model = keras_emoco.EmoCo(encoder, 3, projection_dim=2, hidden_dim=2, queue_size=2)
    model.compile(keras_emoco.optimizers.sgd(0.1))
    x, y = np.zeros((2, 6, 4, 4, 3), "float32"), np.array([0, 1, 2, 0, 1, 2], "float32")
    y[at] = bad
    with pytest.raises(ValueError, match=rf"labels must lie in \[0, 3\); got {bad:g}.* at index {at} "):
        model.fit((x[0], x[1]), y, batch_size=2, verbose=0)
