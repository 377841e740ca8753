"""The dictionary against a plain deque for each class."""

import collections

import keras
import numpy as np
import pytest

from keras_emoco import MultiQueueDictionary

numpy = keras.ops.convert_to_numpy


def test_equals_a_deque_per_class_over_a_thousand_batches():
    classes, size, dim = 4, 7, 3
    dictionary = MultiQueueDictionary(classes, size, dim, seed=0)
    deques = [collections.deque(queue, maxlen=size) for queue in numpy(dictionary.queues)]
    rng = np.random.default_rng(0)
    for step in range(1000):
        # Missing classes, more than K of one class, partial batches of one shape out of three.
        batch = (5, 12, 20)[step % 3]
        labels = rng.choice(classes, size=batch, p=rng.dirichlet(np.full(classes, 0.3)))
        keys = rng.normal(size=(batch, dim)).astype("float32")
        dictionary.enqueue(keys, labels)
        for key, label in zip(keys, labels, strict=True):
            deques[label].append(key)
        if step % 50 == 0 or step > 990:
            for queue, pointer, expected in zip(
                numpy(dictionary.queues), numpy(dictionary.pointers), deques, strict=True
            ):
                # The slot that the pointer names holds the oldest key.
                np.testing.assert_array_equal(np.roll(queue, -int(pointer), axis=0), np.array(expected))


def test_initial_keys_are_random_unit_vectors():
    queues = numpy(MultiQueueDictionary(3, 100, 16, seed=1).queues)
    np.testing.assert_allclose(np.linalg.norm(queues, axis=-1), 1.0, rtol=1e-5)
    flat = queues.reshape(-1, 16)
    products = flat @ flat.T
    assert (products[~np.eye(len(flat), dtype=bool)] < 0.999).all(), "no key appears twice"
    assert abs(flat.mean()) < 0.02
    np.testing.assert_array_equal(queues, numpy(MultiQueueDictionary(3, 100, 16, seed=1).queues))
    assert not np.array_equal(queues, numpy(MultiQueueDictionary(3, 100, 16, seed=2).queues))


def test_is_saved_with_its_pointers(tmp_path):
    dictionary = MultiQueueDictionary(2, 5, 4, seed=0)
    dictionary.enqueue(np.eye(4, dtype="float32")[:3], np.array([1, 1, 0]))
    assert numpy(dictionary.pointers).tolist() == [1, 2]
    again = MultiQueueDictionary.from_config(dictionary.get_config())
    again.set_weights(dictionary.get_weights())
    np.testing.assert_array_equal(numpy(again.queues), numpy(dictionary.queues))
    assert dictionary.trainable_variables == []


@pytest.mark.parametrize(("name", "value"), [("num_classes", 0), ("queue_size", -1), ("dim", 2.5)])
def test_refuses_sizes_that_are_no_positive_integers(name, value):
    arguments = {"num_classes": 2, "queue_size": 3, "dim": 4, name: value}
    with pytest.raises(ValueError, match=f"{name} must be a positive integer; got {value}"):
        MultiQueueDictionary(**arguments)
