"""Loss against PyTorch, logs against scikit-learn, what `frozen` leaves alone, and what is refused."""

import keras
import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, log_loss

import keras_emoco

UNITS = (1, 2, 4)


def encoder(size=8):
    images = keras.Input((size, size, 3))
    x = keras.layers.Conv2D(6, 3)(images)
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(x))
    return keras_emoco.encoders.build(keras.Model(images, keras.layers.ReLU()(x)))


def frames(n=37, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.uniform(size=(n, 3)) < 0.4).astype("float32")
    labels[rng.uniform(size=labels.shape) < 0.2] = -1.0
    labels[:4, 1] = np.nan
    images = rng.normal(size=(n, 8, 8, 3)).astype("float32") + np.nan_to_num(labels[:, :1, None, None])
    return images, labels


def arrays(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


def test_loss_and_gradient_equal_pytorch(value_and_gradients):
    _, labels = frames()
    rng = np.random.default_rng(1)
    logits = (30.0 * rng.normal(size=labels.shape)).astype("float32")
    weights = np.array([1.0, 3.5, 0.2], "float32")
    coded = labels >= 0
    reference_logits = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        reference_logits,
        torch.tensor(np.where(coded, labels, 0.0).astype("float32")),
        pos_weight=torch.tensor(weights),
        reduction="none",
    )
    torch.sum(expected[torch.tensor(coded)]).backward()

    loss, mask = keras_emoco.losses.action_unit_loss(logits, labels, weights)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(mask), coded)
    expected = np.where(coded, expected.detach().numpy(), 0.0)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), expected, rtol=1e-5, atol=1e-6)

    def total(logits):
        return keras.ops.sum(keras_emoco.losses.action_unit_loss(logits, labels, weights)[0])

    _, (gradient,) = value_and_gradients(total, logits)
    np.testing.assert_allclose(gradient, reference_logits.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_evaluate_equals_scikit_learn():
    images, labels = frames()
    detector = keras_emoco.AUDetector(encoder(), UNITS)
    detector.compile()
    logs = detector.evaluate(images, labels, batch_size=len(images), return_dict=True, verbose=0)
    probabilities = detector.predict(images, verbose=0)["probabilities"].astype("float64")
    coded = np.isin(labels, (0, 1))
    assert logs["loss"] == pytest.approx(log_loss(labels[coded], probabilities[coded]), rel=1e-5)
    expected = [
        f1_score(y[c], p[c] > 0.5, zero_division=0)
        for y, p, c in zip(labels.T, probabilities.T, coded.T, strict=True)
    ]
    assert [logs[f"f1_au{unit}"] for unit in UNITS] == pytest.approx(expected, rel=1e-6)
    assert logs["f1"] == pytest.approx(np.mean(expected), rel=1e-6)


@pytest.mark.parametrize("frozen", [True, False])
def test_fit_trains_what_it_should(frozen):
    images, labels = frames(120)
    keras.utils.set_random_seed(0)
    detector = keras_emoco.AUDetector(encoder(), UNITS, frozen=frozen)
    before = arrays(detector.encoder.variables)
    detector.compile(keras_emoco.optimizers.sgd(0.3))
    history = detector.fit(
        images, labels, batch_size=20, epochs=30, verbose=0, validation_data=(images, labels)
    ).history
    assert history["loss"][-1] < history["loss"][0] - 0.05, "uncoded entries do not make it NaN"
    assert history["f1_au1"][-1] > 0.6, "the label is in the brightness"
    assert history["val_f1"][-1] > 0.0
    changed = [
        not np.array_equal(a, b) for a, b in zip(before, arrays(detector.encoder.variables), strict=True)
    ]
    # Of a frozen encoder not even the statistics of BatchNorm move; else all but the seed of the dropout.
    assert not any(changed) if frozen else all(changed[:6])


def test_frozen_dropout_is_off():
    images, _ = frames()
    detector = keras_emoco.AUDetector(encoder(), UNITS)
    one, two = (keras.ops.convert_to_numpy(detector(images, training=t)["logits"]) for t in (True, False))
    np.testing.assert_array_equal(one, two)


def test_units_that_nobody_coded_leave_the_loss_zero():
    images, labels = frames()
    detector = keras_emoco.AUDetector(encoder(), UNITS)
    detector.compile(keras_emoco.optimizers.sgd(0.1, weight_decay=0.0))
    before = arrays(detector.classifier.variables)
    history = detector.fit(images, np.full_like(labels, np.nan), verbose=0).history
    assert history["loss"] == [0.0]
    for a, b in zip(before, arrays(detector.classifier.variables), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("frozen", [True, False])
def test_nan_image_makes_the_loss_nan(frozen):
    # ReLU behind the last layer: on TensorFlow a NaN may leave it as 0, and the loss would be finite.
    images, labels = frames()
    images[5, 2, 3, 1] = np.nan
    detector = keras_emoco.AUDetector(encoder(), UNITS, frozen=frozen)
    detector.compile(keras_emoco.optimizers.sgd(0.1))
    losses = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: losses.append(logs["loss"]))
    detector.fit(images, labels, batch_size=4, shuffle=False, verbose=0, callbacks=[watch])
    assert np.isfinite(losses[0]), "the batch before it"
    assert np.isnan(losses[1:]).all()


@pytest.mark.parametrize("frozen", [True, False])
def test_saved_and_loaded(frozen, tmp_path):
    images, labels = frames()
    detector = keras_emoco.AUDetector(encoder(), UNITS, frozen=frozen, positive_weights=(1, 2.5, 3))
    detector.compile(keras_emoco.optimizers.sgd(0.1))
    detector.fit(images, labels, verbose=0)
    detector.save(tmp_path / "detector.keras")
    loaded = keras.saving.load_model(tmp_path / "detector.keras")
    assert (loaded.action_units, loaded.frozen, loaded.positive_weights) == (UNITS, frozen, (1.0, 2.5, 3.0))
    assert len(loaded.trainable_variables) == len(detector.trainable_variables)
    np.testing.assert_allclose(
        loaded.predict(images, verbose=0)["logits"],
        detector.predict(images, verbose=0)["logits"],
        rtol=1e-5,
        atol=1e-6,
    )
    assert "f1_au4" in loaded.fit(images, labels, verbose=0).history, "it comes back compiled"


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"takes images of shape \(None, 8, 8, 3\); got \(2, 9, 9, 3\)"):
        keras_emoco.AUDetector(encoder(), UNITS)(np.zeros((2, 9, 9, 3), "float32"))
    detector = keras_emoco.AUDetector(encoder(), UNITS)
    detector.compile(keras_emoco.optimizers.sgd(0.1))
    with pytest.raises(ValueError, match=r"labels must have shape \(batch, 3\).*\(1, 2, 4\)"):
        detector.fit(np.zeros((4, 8, 8, 3), "float32"), np.zeros((4, 2), "float32"), verbose=0)
    images = keras.Input((8, 8, 3))
    with pytest.raises(ValueError, match=r"keras_emoco.encoders.build"):
        keras_emoco.AUDetector(keras.Model(images, keras.layers.Conv2D(2, 3)(images)), UNITS)
    shared = encoder()
    keras_emoco.AUDetector(shared, UNITS)
    with pytest.raises(ValueError, match=r"encoder.trainable = True"):
        keras_emoco.AUDetector(shared, UNITS, frozen=False)
    for units in ((), (1, 1), (1, -2)):
        with pytest.raises(ValueError, match="action_units must be different positive integers"):
            keras_emoco.AUDetector(encoder(), units)
    for weights in ((1, 2), (1, 2, 0), (1, 2, np.inf)):
        with pytest.raises(ValueError, match="positive_weights must be"):
            keras_emoco.AUDetector(encoder(), UNITS, positive_weights=weights)
