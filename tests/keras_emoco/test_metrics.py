"""F1 inside `fit` and by hand, against scikit-learn."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import f1_score

from keras_emoco.metrics import F1PerActionUnit

UNITS = (1, 4, 12, 25)


def random_frames(seed=0, n=203):
    """Labels with holes of both kinds and a unit never present; probabilities with ties at 0.5."""
    rng = np.random.default_rng(seed)
    labels = (rng.uniform(size=(n, 4)) < [0.1, 0.5, 0.0, 0.8]).astype("float32")
    labels[rng.uniform(size=labels.shape) < 0.2] = -1.0
    labels[rng.uniform(size=labels.shape) < 0.1] = np.nan
    probabilities = np.round(rng.uniform(size=labels.shape), 1).astype("float32")
    return labels, probabilities


def reference(labels, probabilities, threshold=0.5, weights=None):
    scores = []
    for y, p in zip(labels.T, probabilities.T, strict=True):
        coded = np.isin(y, (0, 1))
        w = None if weights is None else weights[coded]
        predicted = p[coded] > np.float32(threshold)
        scores.append(f1_score(y[coded], predicted, zero_division=0, sample_weight=w))
    return {"f1": np.mean(scores), **{f"f1_au{u}": s for u, s in zip(UNITS, scores, strict=True)}}


def as_floats(result):
    return {name: float(keras.ops.convert_to_numpy(value)) for name, value in result.items()}


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_equals_scikit_learn_over_batches(threshold):
    labels, probabilities = random_frames()
    metric = F1PerActionUnit(UNITS, threshold=threshold)
    for rows in np.array_split(np.arange(len(labels)), 5):
        metric.update_state(labels[rows], probabilities[rows])
    assert as_floats(metric.result()) == pytest.approx(
        reference(labels, probabilities, threshold), rel=1e-6, abs=1e-7
    )
    metric.reset_state()
    assert as_floats(metric.result())["f1_au4"] == 0.0


def test_sample_weight_equals_scikit_learn():
    labels, probabilities = random_frames(1)
    weights = np.random.default_rng(2).uniform(size=len(labels)).astype("float32")
    metric = F1PerActionUnit(UNITS)
    metric.update_state(labels, probabilities, sample_weight=weights)
    expected = reference(labels, probabilities, weights=weights)
    assert as_floats(metric.result()) == pytest.approx(expected, rel=1e-5)


def test_in_compile_of_any_model():
    labels, probabilities = random_frames()
    images = keras.Input((4,))
    model = keras.Model(images, keras.layers.Identity()(images))
    model.compile(loss=lambda y, p: keras.ops.sum(0.0 * p, axis=-1), metrics=[F1PerActionUnit(UNITS)])
    data = tf.data.Dataset.from_tensor_slices((probabilities, labels)).batch(50)
    logs = model.evaluate(data, return_dict=True, verbose=0)
    expected = reference(labels, probabilities)
    assert {name: logs[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_counts_more_frames_than_half_precision_can():
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        metric = F1PerActionUnit((1,))
        for _ in range(4):
            metric.update_state(np.ones((257, 1), "float32"), np.ones((257, 1), "float32"))
        assert float(keras.ops.convert_to_numpy(metric.present)[0]) == 1028
    finally:
        keras.mixed_precision.set_dtype_policy("float32")


def test_refuses_other_columns():
    with pytest.raises(ValueError, match=r"labels must have shape \(batch, 2\).*got \(3, 4\)"):
        F1PerActionUnit((1, 2)).update_state(np.zeros((3, 4)), np.zeros((3, 4)))
    with pytest.raises(ValueError, match="threshold must be a number in"):
        F1PerActionUnit((1, 2), threshold=50)
