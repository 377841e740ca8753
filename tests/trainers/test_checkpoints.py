"""What is left of a run that diverges."""

import keras
import numpy as np
import pytest

import keras_emoco
from trainers.checkpoints import Checkpoints


def test_nan_image_stops_training_at_its_step_and_the_checkpoint_before_it_stays(tmp_path):
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model = keras_emoco.EmoCo(encoder, num_classes=2, projection_dim=4, hidden_dim=8, queue_size=4)
    model.compile(keras_emoco.optimizers.sgd(0.05))
    views = np.random.default_rng(0).normal(size=(2, 12, 8, 8, 3)).astype("float32")
    labels = np.arange(12) % 2
    saver = Checkpoints(tmp_path)
    fit = {"batch_size": 4, "shuffle": False, "verbose": 0, "callbacks": [saver]}
    model.fit(tuple(views), labels, **fit)
    good = model.get_weights()
    views[0, 5] = np.nan  # in the second of three batches
    with pytest.raises(FloatingPointError, match=r"nan at step 5: .*checkpoint: .*/step_000000003\."):
        model.fit(tuple(views), labels, **fit)

    assert saver.restore(model) == 3
    for kept, before in zip(model.get_weights(), good, strict=True):
        np.testing.assert_array_equal(kept, before)
