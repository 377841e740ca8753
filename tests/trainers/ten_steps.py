"""Ten steps of `fit`, the same wherever it runs: `python ten_steps.py DIRECTORY NAME STRATEGY DEVICES`.

A program of `test_parity.py`. It reads `batches.npz` and, if it is there, `start.weights.h5`, else writes it;
it writes `NAME.npz`: losses, all variables, and each replica's copy of the dictionary.
"""

import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_emoco
from trainers import strategies

BATCH = 16


def copies(variable) -> list[np.ndarray]:
    """What each device holds of a variable."""
    value = variable.value
    if hasattr(value, "addressable_shards"):
        return [np.asarray(shard.data) for shard in value.addressable_shards]
    if isinstance(getattr(value, "values", None), tuple):
        return [copy.numpy() for copy in value.values]
    return [keras.ops.convert_to_numpy(value)]


def encoder():
    images = x = keras.Input((16, 16, 3))
    for filters in (8, 12):
        x = keras.layers.Conv2D(filters, 3, strides=2, use_bias=False)(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
        x = keras.layers.ReLU()(x)
    return keras_emoco.encoders.build(keras.Model(images, x), image_size=16)


def main(directory, name, strategy, devices):
    directory = pathlib.Path(directory)
    devices = strategies.create(strategy, virtual_devices=int(devices))
    with np.load(directory / "batches.npz") as arrays:
        data = tf.data.Dataset.from_tensor_slices(
            ((arrays["queries"], arrays["keys"]), arrays["labels"])
        ).batch(BATCH // devices.processes)
    data = data.shard(devices.processes, devices.process)
    with devices.scope:
        model = keras_emoco.EmoCo(
            encoder(), num_classes=3, projection_dim=16, hidden_dim=24, queue_size=10, momentum=0.9
        )
        model.compile(keras_emoco.optimizers.sgd(keras_emoco.optimizers.cosine(1.0, BATCH, 20)))
        start = directory / "start.weights.h5"
        if start.exists():
            model.load_weights(start)
        else:
            model.save_weights(start)
    means = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda step, logs: means.append(logs["loss"]))
    model.fit(data, shuffle=False, verbose=0, callbacks=[watch])
    sums = np.array(means, float) * np.arange(1, len(means) + 1)
    np.savez(
        directory / f"{name}.npz",
        allow_pickle=False,
        losses=np.diff(sums, prepend=0.0),
        dictionaries=np.stack(copies(model.dictionary.queues)),
        trained=sum(int(np.prod(variable.shape)) for variable in model.trainable_variables),
        # Numbered, for the layers of the key encoder have the names of the query encoder's.
        **{f"{i} {v.path}": keras.ops.convert_to_numpy(v) for i, v in enumerate(model.variables)},
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
