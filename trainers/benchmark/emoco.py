"""What the benchmark times of this library, on the Keras backend of the process.

Each public function prepares one case and gives `(run, work)`: a function that does it once, and how much
that is in the unit of the comparison.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from keras import ops

import keras_emoco
from keras_emoco import backend
from trainers import presets
from trainers.benchmark import data
from trainers.benchmark.backends import compiled, training_step, value_and_gradient


def head(batch: int, classes: int, size: int, dim: int):
    """Loss, gradient and enqueue; `work` counts the two products of the queries with their own queue."""
    arrays = data.head(batch, classes, size, dim)
    dictionary = keras_emoco.MultiQueueDictionary(classes, size, dim)
    dictionary.queues.assign(arrays.pop("queues"))
    queries, keys, labels, prototypes = (ops.convert_to_tensor(array) for array in arrays.values())

    def mean_loss(queries):
        loss = keras_emoco.losses.contrastive_loss(queries, keys, labels, dictionary.queues, prototypes)
        return ops.mean(loss)

    def call():
        loss, gradient = value_and_gradient(mean_loss, queries)
        dictionary.enqueue(backend.after(keys, gradient[:, 0]), labels)
        return loss, gradient

    step = compiled(call, dictionary.variables)
    return lambda: float(step()[0]), 4.0 * batch * size * dim


def step(preset: str, part: str, **changes):
    """One training step of a preset, or a part of it.

    Args:
        preset: name of a preset.
        part: `"whole"`; `"encoder"`: forward and backward of the query encoder, forward of the key encoder;
            `"optimizer"`: that and the optimiser's update; `"momentum"` or `"enqueue"` alone.
        changes: values that replace the preset's.
    """
    settings = dataclasses.replace(presets.PRESETS[preset], **changes)
    model = (keras_emoco.EmoCo if part == "whole" else EncoderAlone)(
        keras_emoco.encoders.build(settings.encoder, settings.image_size),
        num_classes=7,
        queue_size=settings.queue_size,
        hidden_dim=settings.hidden_dim,
        projection_dim=settings.projection_dim,
        seed=0,
    )
    rng = np.random.default_rng(0)
    shape = (settings.batch_size, settings.image_size, settings.image_size, 3)
    views = [rng.standard_normal(shape, "float32") for _ in range(2)]
    labels = rng.integers(0, 7, settings.batch_size).astype("int32")
    if part == "momentum":
        run = compiled(lambda: model.momentum_encoder.update(model), model.variables)
    elif part == "enqueue":
        keys = ops.convert_to_tensor(rng.standard_normal((settings.batch_size, settings.projection_dim)))
        run = compiled(lambda: model.dictionary.enqueue(keys, labels), model.dictionary.variables)
    else:
        if part == "encoder":
            optimizer = NoUpdate()
        elif settings.optimizer == "adamw":
            optimizer = keras.optimizers.AdamW(1e-4, settings.weight_decay)
        else:
            optimizer = keras_emoco.optimizers.sgd(1e-4, settings.sgd_momentum, settings.weight_decay)
        model.compile(optimizer)
        run = training_step(model, (tuple(views), labels))
    return lambda: _loss(run()), settings.batch_size


def input(face_size: int, image_size: int, count: int, rounds: int):
    """`count` JPEG files to two views each, `rounds` times over."""
    files = data.faces(count, face_size) * rounds
    examples = tf.data.Dataset.from_tensor_slices((files, np.zeros(len(files), "int64")))
    # Taken from the start at each call, because an iterator would make batches between the calls. The third
    # of a second that a start takes is counted: it is little where the faces are thousands, as in an epoch.
    batches = keras_emoco.augment.two_views(examples, image_size, count // 4, num_parallel_calls=1)
    batches = batches.take(4 * rounds)

    def run():
        return float(sum(tf.reduce_sum(query[0, 0]) for (query, _), _ in batches))

    return run, count * rounds


class EncoderAlone(keras_emoco.EmoCo):
    """Encoders and projection heads of both branches and the gradient, without the rest of the method."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        keys = self.encode_keys(x[1], training=training)
        return -ops.mean(ops.sum(y_pred["embedding"] * keys, axis=-1))

    def finish_step(self, logs):
        return logs


class NoUpdate(keras.optimizers.Optimizer):
    """Has every gradient computed, and reads it once, for a compiler would drop one that nobody reads."""

    def __init__(self):
        super().__init__(learning_rate=1.0)

    def build(self, variables):
        if not self.built:
            super().build(variables)
            self.seen = self.add_variable((), name="seen")

    def update_step(self, gradient, variable, learning_rate):
        self.assign_add(self.seen, ops.sum(gradient))


def _loss(logs):
    return float(logs["loss"]) if isinstance(logs, dict) else 0.0
