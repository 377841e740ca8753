"""Devices: which of them train, and the errors for what the Keras backend cannot do."""

import contextlib
import json
import os

import keras

STRATEGIES = ("none", "mirrored", "tpu")


def create(name: str, *, virtual_devices: int = 0, tpu: str = "local"):
    """The strategy under whose scope a model is built and compiled.

    Args:
        name: one of `STRATEGIES`.
        virtual_devices: split the CPU into so many logical devices first; 0 leaves it whole.
        tpu: address of the TPU for `"tpu"`, as `tf.distribute.cluster_resolver.TPUClusterResolver` takes it.

    Returns:
        A context manager, and the number of replicas.

    Raises:
        ValueError: the backend has no such strategy, or several workers are configured.
    """
    backend = keras.backend.backend()
    if name != "none" and backend != "tensorflow":
        raise ValueError(
            f"--strategy={name} is TensorFlow's and the Keras backend is {backend}: set "
            "KERAS_BACKEND=tensorflow, or leave --strategy out to train on one device"
        )
    if virtual_devices and backend != "tensorflow":
        raise ValueError(f"--virtual_devices splits TensorFlow's CPU and the Keras backend is {backend}")
    if name == "none":
        if virtual_devices:
            raise ValueError("--virtual_devices needs a strategy to use them: add --strategy=mirrored")
        return contextlib.nullcontext(), 1

    import tensorflow as tf

    workers = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {}).get("worker", [])
    if len(workers) > 1:
        raise ValueError(
            f"TF_CONFIG names {len(workers)} workers, and Keras 3 cannot train several TensorFlow workers "
            "(keras issue 20585): unset TF_CONFIG"
        )
    if name == "tpu":
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        strategy = tf.distribute.TPUStrategy(resolver)
    else:
        if virtual_devices:
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices("CPU")[0],
                [tf.config.LogicalDeviceConfiguration()] * virtual_devices,
            )
        devices = tf.config.list_logical_devices("CPU" if virtual_devices else "GPU")
        strategy = tf.distribute.MirroredStrategy([device.name for device in devices] or None)
    return strategy.scope(), strategy.num_replicas_in_sync
