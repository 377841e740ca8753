"""Devices: which of them train, and the errors for what the Keras backend cannot do."""

import contextlib
import dataclasses
import json
import os

import keras
import numpy as np

STRATEGIES = ("none", "mirrored", "tpu", "data_parallel")
# Keras reads them: README, section "Several devices".
PROCESS_VARIABLES = (
    "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "KERAS_DISTRIBUTION_NUM_PROCESSES",
    "KERAS_DISTRIBUTION_PROCESS_ID",
)
BACKEND_OF = {"mirrored": "tensorflow", "tpu": "tensorflow", "data_parallel": "jax"}


@dataclasses.dataclass(frozen=True)
class Devices:
    """Who trains.

    Attributes:
        scope: context manager under which a model is built, compiled and restored.
        replicas: devices that share a batch, over all processes.
        processes: how many of this program train together.
        process: number of this one; the first, 0, writes the files.
    """

    scope: contextlib.AbstractContextManager
    replicas: int = 1
    processes: int = 1
    process: int = 0

    @contextlib.contextmanager
    def first_process_first(self):
        """The first process runs the block, then the others do: they find what it wrote.

        Raises:
            ValueError: in the others, when the first did not get through.
        """
        if self.process > 0 and self.any(False):
            raise ValueError("the first process could not begin: its own output says why")
        try:
            yield
        except BaseException:
            if self.process == 0:
                self.any(True)
            raise
        if self.process == 0:
            self.any(False)

    def any(self, value: bool) -> bool:
        """Whether it is true in some process; all of them must ask."""
        if self.processes == 1:
            return value
        from jax.experimental import multihost_utils

        return bool(multihost_utils.process_allgather(np.array(value)).any())

    def part(self):
        """End the work together: from here on each process computes for itself."""
        self.any(False)
        if keras.distribution.distribution() is not None:
            keras.distribution.set_distribution(None)
        if self.processes > 1:
            import jax

            jax.distributed.shutdown()


def create(name: str, *, virtual_devices: int = 0, tpu: str = "local") -> Devices:
    """Start the devices of a strategy; nothing may have been computed before.

    Args:
        name: one of `STRATEGIES`. `mirrored` is all local devices under TensorFlow, `data_parallel` all
            devices of all processes under JAX; there are several where `PROCESS_VARIABLES` say so.
        virtual_devices: split the CPU into so many devices first; 0 leaves it whole.
        tpu: address of the TPU for `"tpu"`, as `tf.distribute.cluster_resolver.TPUClusterResolver` takes it.

    Raises:
        ValueError: the backend has no such strategy, several TensorFlow processes are to train, or no TPU
            answers.
    """
    backend = keras.backend.backend()
    if name == "none":
        if virtual_devices:
            other = "data_parallel" if backend == "jax" else "mirrored"
            raise ValueError(f"--virtual_devices needs a strategy to use them: add --strategy={other}")
        return Devices(contextlib.nullcontext())
    if backend != BACKEND_OF[name]:
        mine = [strategy for strategy, needed in BACKEND_OF.items() if needed == backend] or ["none"]
        raise ValueError(
            f"--strategy={name} needs KERAS_BACKEND={BACKEND_OF[name]} and the backend is {backend}: set it, "
            f"or use --strategy={mine[0]}"
        )
    if name == "data_parallel":
        return _data_parallel(virtual_devices)
    return _tensorflow(name, virtual_devices, tpu)


def _data_parallel(virtual_devices):
    import jax

    from keras_emoco.backend.jax import keep_fast_convolutions

    if virtual_devices:
        keep_fast_convolutions()
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_num_cpu_devices", virtual_devices)
    if any(name in os.environ for name in PROCESS_VARIABLES):
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        keras.distribution.initialize()
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))
    return Devices(contextlib.nullcontext(), jax.device_count(), jax.process_count(), jax.process_index())


def _tensorflow(name, virtual_devices, tpu):
    import tensorflow as tf

    workers = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {}).get("worker", [])
    if len(workers) > 1:
        raise ValueError(
            f"TF_CONFIG names {len(workers)} workers, and Keras 3 cannot train several TensorFlow workers "
            "(keras issue 20585): unset TF_CONFIG to train on the devices of this machine, or train several "
            "processes by KERAS_BACKEND=jax and --strategy=data_parallel"
        )
    if name == "tpu":
        strategy = tf.distribute.TPUStrategy(_connect_to_tpu(tpu))
        return Devices(strategy.scope(), strategy.num_replicas_in_sync)
    if virtual_devices:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * virtual_devices,
        )
        # A collective blocks its thread until all replicas have met: each needs one.
        tf.config.threading.set_inter_op_parallelism_threads(2 * virtual_devices + 2)
    devices = tf.config.list_logical_devices("CPU" if virtual_devices else "GPU")
    strategy = tf.distribute.MirroredStrategy([device.name for device in devices] or None)
    return Devices(strategy.scope(), strategy.num_replicas_in_sync)


def _connect_to_tpu(address):
    import tensorflow as tf

    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    # The resolver asks the cloud's own services, whose failures share no base class.
    except Exception as error:
        raise ValueError(
            f"no TPU answers at --tpu={address} ({str(error).splitlines()[0]}): run on the TPU's own machine "
            "with --tpu=local, or give its name or grpc:// address"
        ) from error
    return resolver
