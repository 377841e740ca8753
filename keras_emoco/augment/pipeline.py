"""From a dataset of labelled pictures to the batches of contrastive training, and to those of feature extraction.

Not a reader of files: `examples` come from TFDS or from the caller.
"""

import tensorflow as tf

from keras_emoco.augment import ops
from keras_emoco.augment.views import MOCO_V2, Policy, center_view, random_view

SHUFFLE_BUFFER = 2**15
"""Most examples held in memory for shuffling unless `shuffle_buffer` says otherwise."""


def two_views(
    examples: tf.data.Dataset,
    image_size: int,
    batch_size: int,
    *,
    policy: Policy = MOCO_V2,
    seed: int = 0,
    first_step: int = 0,
    num_examples: int | None = None,
    shuffle_buffer: int = SHUFFLE_BUFFER,
    num_parallel_calls: int = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """Makes the endless dataset of batches `((query_view, key_view), label)` for `EmoCo.fit`.

    One pass over `examples` is an epoch of `num_examples // batch_size` steps; the rest of the epoch is dropped.
    Views depend on (seed, epoch, position of the example in `examples`) alone and the order on (seed, epoch), not on
    `num_parallel_calls` nor on TensorFlow's global seed. So a run can be repeated, and resumed with `first_step`,
    bit for bit.

    Args:
        examples: Finite dataset, in the same order at each pass, of `{"image": ..., "emotion": ...}` (other keys are
            ignored) or `(image, label)`. The image is encoded bytes (scalar string; the faster form, as the memory
            of the shuffle then holds files) or uint8 (height, width, 1 or 3); the label an integer scalar.
        image_size: Height and width of the views in pixels.
        batch_size: Examples per batch; every batch is full.
        policy: Strengths and probabilities of the augmentation.
        seed: Seed of the shuffling and of the views.
        first_step: Number of batches to leave out: the dataset begins where an uninterrupted one would be after so
            many. They are not decoded, and whole epochs among them not read.
        num_examples: Number of examples; needed where `examples.cardinality()` is unknown.
        shuffle_buffer: Examples held in memory for shuffling. From `num_examples` on the shuffle is a full one; with
            less, `examples` must not be sorted by class.
        num_parallel_calls: Examples augmented at the same time.

    Returns:
        Dataset of `((query_view, key_view), label)`: float32 (batch_size, image_size, image_size, 3) twice, int32
        (batch_size,). Its cardinality is infinite: give `steps_per_epoch` to `fit`.

    Raises:
        TypeError: elements of `examples` are neither of the two forms, or an image or label is of a wrong type.
        ValueError: number of examples unknown, infinite or below `batch_size`; a negative `first_step`; an image or
            label of a wrong shape.
        tf.errors.InvalidArgumentError: on iteration, an image cannot be decoded.
        tf.errors.FailedPreconditionError: on iteration, `examples` does not hold `num_examples`.
    """
    _check_examples(examples)
    num_examples = _num_examples(examples, num_examples)
    if not 1 <= batch_size <= num_examples:
        raise ValueError(
            f"batch_size: expected 1 to {num_examples}, the number of examples, as every batch is full; "
            f"got {batch_size}"
        )
    if first_step < 0:
        raise ValueError(f"first_step: expected at least 0; got {first_step}")
    steps_per_epoch = num_examples // batch_size
    first_epoch, first_step_of_epoch = divmod(first_step, steps_per_epoch)

    numbered = examples.apply(tf.data.experimental.assert_cardinality(num_examples)).map(_image_and_label).enumerate()

    def shuffled_epoch(epoch):
        # Dataset.shuffle mixes the seed of its graph into its own: this one is set, lest the user's global seed count.
        tf.compat.v1.set_random_seed(1)
        epoch_seed = tf.stack([tf.constant(seed, tf.int64), epoch])
        shuffle_seed = tf.random.stateless_uniform([], epoch_seed, None, None, tf.int64, alg="philox")
        skipped = tf.where(epoch == first_epoch, tf.constant(first_step_of_epoch * batch_size, tf.int64), 0)
        return (
            numbered.shuffle(min(shuffle_buffer, num_examples), seed=shuffle_seed)
            .take(steps_per_epoch * batch_size)
            .skip(skipped)
            .map(lambda index, example: (tf.random.fold_in(epoch_seed, index, alg="philox"), index, *example))
        )

    def views(example_seed, index, image, label):
        # Decoding the whole picture once is faster than decoding two crops, each 0.6 of it on average.
        pixels = ops.decode(image, index)
        query, key = (
            random_view(pixels, tf.random.fold_in(example_seed, tf.constant(view, tf.int64), alg="philox"), image_size, policy)
            for view in (0, 1)
        )
        return (query, key), tf.cast(label, tf.int32)

    return (
        tf.data.Dataset.counter(first_epoch)
        .flat_map(shuffled_epoch)
        .map(views, num_parallel_calls=num_parallel_calls, deterministic=True)
        .batch(batch_size, drop_remainder=True)
        .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        .prefetch(tf.data.AUTOTUNE)
        .with_options(_options())
    )
