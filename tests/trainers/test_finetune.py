"""Which faces a fold trains on and with which labels; that it learns; weights of classes by hand."""

import dataclasses

import keras
import numpy as np
import pytest

import keras_emoco
from trainers import data, finetune, probe

RECIPE = finetune.Recipe(image_size=32, epochs=12, batch_size=8, base_learning_rate=0.05)


@pytest.fixture(scope="module")
def faces(manual_dir, tmp_path_factory):
    directory = tmp_path_factory.getbasetemp() / "tensorflow_datasets"
    return probe.load(data.prepare("action_unit_folder/units", str(directory), str(manual_dir)))


def encoder():
    images = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 32, name="whole")(images)
    return keras_emoco.encoders.build(keras.Model(images, x))


def test_batches_are_the_training_faces_with_their_labels(faces):
    train = faces.folds[0][0]
    coded = faces.coded.copy()
    coded[:, 1] = False
    numbered = dataclasses.replace(
        faces, occurrence=np.stack([np.arange(36)] * 2, axis=1), coded=coded, examples=faces.examples
    )
    recipe = dataclasses.replace(RECIPE, batch_size=len(train))
    passes = list(finetune.batches(numbered, train, recipe, seed=0).take(2))
    for images, labels in passes:
        assert sorted(labels[:, 0].numpy()) == sorted(train), "each once a pass, no test face"
        assert (labels[:, 1].numpy() == -1).all(), "not coded"
        assert images.shape == (len(train), 32, 32, 3)
    order = [list(labels[:, 0].numpy()) for _, labels in passes]
    assert order[0] != order[1]
    again = next(iter(finetune.batches(numbered, train, recipe, seed=0)))
    np.testing.assert_array_equal(again[0], passes[0][0])
    other = next(iter(finetune.batches(numbered, train, recipe, seed=1)))
    assert not np.array_equal(other[1], passes[0][1])


def test_predictions_are_in_the_order_of_the_rows(faces):
    detector = keras_emoco.AUDetector(encoder(), faces.action_units)
    everything = finetune.predict(detector, faces, np.arange(36), RECIPE)
    rows = np.array([3, 7, 8, 20])
    np.testing.assert_allclose(finetune.predict(detector, faces, rows, RECIPE), everything[rows], atol=1e-6)
    assert len(np.unique(everything[:, 0])) > 30


def test_training_changes_the_encoder_and_learns(faces):
    rows = np.arange(36)
    keras.utils.set_random_seed(0)
    model = encoder()
    before = model.get_weights()
    detector = finetune.train(model, faces, rows, RECIPE, seed=0)
    assert not np.array_equal(before[0], model.get_weights()[0])
    probabilities = finetune.predict(detector, faces, rows, RECIPE)
    present = faces.occurrence[:, 0] == 1
    assert probabilities[present, 0].mean() > probabilities[~present, 0].mean() + 0.1


def test_class_weights_by_hand(faces):
    occurrence = np.zeros((36, 2), int)
    occurrence[:6, 0] = 1
    coded = np.ones((36, 2), bool)
    coded[:2] = False
    few = dataclasses.replace(faces, occurrence=occurrence, coded=coded)
    # AU1: 4 present and 12 absent among rows 2 to 17; AU12 never present, so nothing to weigh.
    assert finetune._balance(few, np.arange(18)) == [3.0, 1.0]


def test_batch_larger_than_a_fold(faces):
    with pytest.raises(ValueError, match="--batch_size=40 exceeds the 36 training faces"):
        finetune.train(encoder(), faces, np.arange(36), dataclasses.replace(RECIPE, batch_size=40), seed=0)
