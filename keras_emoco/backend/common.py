"""What the backends share."""

import contextlib

import tensorflow as tf

# Keys in one read of a queue: 1 MiB at 128 float32 numbers each, so that a chunk stays in the cache
# between its two products.
CHUNK = 2048


def keep_tensorflow_off_gpus() -> None:
    """Leave GPUs to another backend: TensorFlow reads data there, and would take all their memory for it."""
    with contextlib.suppress(RuntimeError):  # It has started already, and has what it wants.
        tf.config.set_visible_devices([], "GPU")
