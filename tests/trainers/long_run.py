"""`python long_run.py STEPS STRATEGY`: a tiny model trained for long; what it holds, and what replicas hold.

A program of `test_growth.py`. Prints JSON: at a quarter of the steps and at the end the resident memory in
bytes, open files and threads, as Linux tells of this process; the loss; and how many numbers of how many
variables differ between devices.
"""

import gc
import json
import os
import resource
import sys

import keras
import numpy as np
import tensorflow as tf

import keras_emoco
from trainers import strategies

SIZE, BATCH, CLASSES = 8, 8, 3


def held():
    """What this process holds now."""
    gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "memory": pages * resource.getpagesize(),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
    }


class Watch(keras.callbacks.Callback):
    """Notes what is held after some steps."""

    def __init__(self, at):
        super().__init__()
        self.at, self.step, self.notes = at, 0, []

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1
        if self.step in self.at:
            self.notes.append({"step": self.step, "loss": float(logs["loss"]), **held()})


def build(devices):
    with devices.scope:
        inputs = keras.Input((SIZE, SIZE, 3))
        x = keras.layers.BatchNormalization()(keras.layers.Conv2D(8, 3)(inputs))
        outputs = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
        encoder = keras.Model(inputs, outputs)
        # K is no multiple of the batch.
        model = keras_emoco.EmoCo(encoder, CLASSES, 8, 16, queue_size=20, momentum=0.99, seed=0)
        model.compile(keras_emoco.optimizers.sgd(0.01))
    return model


def copies(variable):
    """A variable as each device has it."""
    value = variable.value
    if hasattr(value, "addressable_shards"):
        return [np.asarray(shard.data) for shard in value.addressable_shards]
    if isinstance(value, tf.distribute.DistributedValues):
        return [copy.numpy() for copy in value.values]
    return [keras.ops.convert_to_numpy(value)]


def main(steps, strategy):
    devices = strategies.create(strategy, virtual_devices=0 if strategy == "none" else 2)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (64, 12, 12, 3), np.uint8)
    faces = tf.data.Dataset.from_tensor_slices((images, rng.integers(0, CLASSES, 64)))
    batches = keras_emoco.augment.two_views(faces, SIZE, BATCH)
    keras.utils.set_random_seed(0)
    model, watch = build(devices), Watch((steps // 4, steps))
    model.fit(batches, steps_per_epoch=steps // 8, epochs=8, verbose=0, shuffle=False, callbacks=[watch])
    parts = [copies(variable) for variable in [*model.variables, *model.optimizer.variables]]
    different = sum(int((a != b).sum()) for a, *others in parts for b in others)
    print(
        json.dumps(
            {"notes": watch.notes, "copies": len(parts[0]), "variables": len(parts), "different": different}
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
