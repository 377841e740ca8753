"""What must not creep in over thousands of steps: drift of the average."""

import keras
import numpy as np

from keras_emoco import backend


def updater(target, source, momentum):
    def update():
        backend.moving_average([target], [source], momentum)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(update)
    return update


def test_average_of_a_constant_is_the_constant_after_10_000_updates():
    values = np.random.default_rng(0).normal(size=500).astype("float32")
    for momentum in (0.99, 0.999):
        target, source = keras.Variable(values), keras.Variable(values)
        update = updater(target, source, momentum)
        for _ in range(10_000):
            update()
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(target), values)
