"""The multi-queue dictionary of negatives (section III.C.2): one queue of past keys for each emotion."""

import keras
from keras import ops

from keras_emoco import backend, checks


@keras.saving.register_keras_serializable("keras_emoco")
class MultiQueueDictionary(keras.layers.Layer):
    """First-in, first-out queues of keys, one for each class.

    Args:
        num_classes: `C`, the number of queues.
        queue_size: `K`, keys in each queue.
        dim: `D`, numbers in each key.
        seed: int or None. Seed of the initial keys, random unit vectors.

    Attributes:
        queues: `(C, K, D)` float32, non-trainable.
        pointers: `(C,)` int32, non-trainable: the slot that the next key of each class takes.

    Example:
    ```python
    dictionary = MultiQueueDictionary(num_classes=7, queue_size=65536, dim=128)
    dictionary.enqueue(keys, labels)  # (B, 128) and (B,)
    ```

    Raises:
        ValueError: an argument is not a positive integer.
    """

    def __init__(self, num_classes: int, queue_size: int, dim: int, seed: int | None = None, **kwargs):
        # Keys are compared in float32 whatever the policy of the encoder.
        super().__init__(**{"dtype": "float32", **kwargs, "trainable": False})
        for name, value in {"num_classes": num_classes, "queue_size": queue_size, "dim": dim}.items():
            checks.whole_number(name, value)
        checks.seed_or_none(seed)
        self.num_classes, self.queue_size, self.dim, self.seed = num_classes, queue_size, dim, seed
        self.queues = self.add_weight(
            shape=(num_classes, queue_size, dim),
            initializer=_RandomUnitVectors(seed),
            dtype="float32",
            trainable=False,
            name="queues",
        )
        self.pointers = self.add_weight(
            shape=(num_classes,), initializer="zeros", dtype="int32", trainable=False, name="pointers"
        )
        self.built = True

    def enqueue(self, keys, labels) -> None:
        """Put each key into the queue of its class in arrival order; the oldest keys give way.

        Args:
            keys: `(B, D)` unit vectors. `B` may be anything: a batch without some class, with more than
                `K` of one, or smaller than usual.
            labels: `(B,)` integers in `[0, C)`.

        Raises:
            ValueError: shapes that do not fit, or NumPy labels outside `[0, C)`; of tensors the loss tells.
        """
        sizes = checks.shapes(keys=(keys, "BD"), labels=(labels, "B"))
        if sizes["D"] != self.dim:
            raise ValueError(f"keys must have {self.dim} numbers each; got {sizes['D']}")
        checks.labels(labels, self.num_classes)
        keys, labels = ops.cast(keys, "float32"), ops.cast(labels, "int32")
        one_hot = ops.cast(labels[:, None] == ops.arange(self.num_classes, dtype="int32"), "int32")
        arrival = ops.cumsum(one_hot, axis=0) - one_hot
        slots = ops.sum(one_hot * (arrival + self.pointers), axis=-1) % self.queue_size
        if keys.shape[0] is None or keys.shape[0] > self.queue_size:
            keys = _newest_in_slot(keys, labels * self.queue_size + slots)
        backend.write_rows(self.queues, (labels, slots), keys)
        backend.write_rows(
            self.pointers,
            (ops.arange(self.num_classes, dtype="int32"),),
            (self.pointers + ops.sum(one_hot, axis=0)) % self.queue_size,
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "queue_size": self.queue_size,
            "dim": self.dim,
            "seed": self.seed,
        }


def _newest_in_slot(keys, slots):
    """Each key replaced by the last of the batch that goes to its slot: a scatter promises no order."""
    order = ops.cumsum(ops.ones_like(slots))
    newest = ops.argmax(ops.where(slots[:, None] == slots, order, 0), axis=-1)
    return ops.take(keys, newest, axis=0)


class _RandomUnitVectors(keras.initializers.Initializer):
    def __init__(self, seed):
        self.seed = keras.random.SeedGenerator(seed) if seed is None else seed

    def __call__(self, shape, dtype=None):
        return keras.utils.normalize(
            ops.convert_to_numpy(keras.random.normal(shape, dtype=dtype, seed=self.seed)), axis=-1
        )
