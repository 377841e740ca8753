"""One thread computes in the process of the tests: threads that race differ in the last bits of a sum.

BatchNorm over a few pictures makes such bits visible after some steps, and a test that asks whether two runs
are the same would fail now and then. pytest-xdist has a process for each core already.
"""

import contextlib

# Before TensorFlow, as in `keras_emoco`: tests compare with torchvision.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
