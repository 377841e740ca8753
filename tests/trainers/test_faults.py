"""What the user reads when memory or a picture fails: the errors are the backend's and the reader's own."""

import numpy as np
import pytest
import tensorflow as tf

import keras_emoco
from keras_emoco import augment
from trainers import faults


def test_out_of_memory_names_the_flags_that_help():
    with pytest.raises(Exception) as caught:  # noqa: PT011, each backend has its own
        keras_emoco.MultiQueueDictionary(num_classes=7, queue_size=10**9, dim=10**4)
    message = faults.explain(caught.value)
    assert message.startswith("out of memory (")
    assert "--batch_size" in message
    assert "--queue_size" in message


def test_picture_that_does_not_decode_is_named():
    pictures = [tf.io.encode_jpeg(np.zeros((8, 8, 3), "uint8")).numpy() for _ in range(4)]
    pictures[2] = pictures[2][:-40]
    dataset = tf.data.Dataset.from_tensor_slices((pictures, np.zeros(4, int)))
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        next(iter(augment.two_views(dataset, 8, 4)))
    message = faults.explain(caught.value)
    assert message.startswith("cannot decode the image")
    assert "[at example] [2]" in message


def test_death_of_another_process_is_said_whatever_jax_raises():
    gloo = "UNKNOWN: Gloo AllGather failed: [external/gloo/gloo/transport/tcp/pair.cc:547] Connection closed"
    for error in (ValueError(gloo), RuntimeError(gloo)):
        assert faults.explain(error, processes=2).startswith("another of the 2 processes has ended (UNKNOWN")
        assert faults.explain(error) is None, "there is no other"
    assert faults.explain(ValueError("a bug"), processes=2) is None


def test_what_is_no_fault_of_the_machine_keeps_its_traceback():
    assert faults.explain(KeyError("a bug")) is None
    assert faults.explain(ValueError("a bug")) is None
