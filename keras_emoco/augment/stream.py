"""The endless order of training: shuffled epochs of a finite dataset, each example with the seed of its view.

What becomes of an example is for others: `augment.two_views`, `data.action_unit_batches`.
"""

import numbers

import tensorflow as tf

SHUFFLE_BUFFER = 2**15
"""Most examples held in memory for shuffling unless `shuffle_buffer` says otherwise."""


def epochs(
    examples: tf.data.Dataset,
    batch_size: int,
    *,
    seed: int = 0,
    first_step: int = 0,
    shuffle_buffer: int = SHUFFLE_BUFFER,
    num_shards: int = 1,
    shard: int = 0,
) -> tf.data.Dataset:
    """Makes the endless dataset of this process's examples, in the order of its batches.

    The order depends on (seed, epoch) alone, and the seed of an example's view on (seed, epoch, position of
    the example in `examples`) alone: neither on the number of shards nor on TensorFlow's global seed. What
    fills no batch at the end of an epoch is dropped.

    Args:
        examples: Finite dataset of known cardinality, in the same order at each pass.
        batch_size: Examples per batch, over all shards.
        seed: Seed of the shuffling and of the views.
        first_step: Number of batches to leave out at the beginning.
        shuffle_buffer: Examples held in memory for shuffling.
        num_shards: Processes that train together.
        shard: Number of this process. Its part of a batch is the `shard`-th of `num_shards` in a row.

    Returns:
        Dataset of `(view_seed, index, example)`: int64 (2,), for `tf.random.fold_in` and `random_view`; int64
        scalar, the position in `examples`; its element. Batched by `batch_size // num_shards` these are the
        batches.

    Raises:
        ValueError: the number of examples is unknown, infinite or below `batch_size`; a negative
            `first_step`; shards that do not divide the batch; what is no whole number of 64 bits.
    """
    num_examples = int(examples.cardinality())
    check_whole(
        batch_size=(batch_size, None),
        seed=(seed, None),
        first_step=(first_step, None),
        shuffle_buffer=(shuffle_buffer, 1),
        num_shards=(num_shards, 1),
        shard=(shard, None),
    )
    _check(num_examples, batch_size, first_step, num_shards, shard)
    steps_per_epoch = num_examples // batch_size
    share = batch_size // num_shards
    first_epoch, first_step_of_epoch = divmod(first_step, steps_per_epoch)
    numbered = examples.enumerate()

    def epoch_of(epoch):
        # Dataset.shuffle mixes its graph's seed into its own; set here, lest it be the user's global seed.
        tf.compat.v1.set_random_seed(1)
        epoch_seed = tf.stack([tf.constant(seed, tf.int64), epoch])
        shuffle_seed = tf.random.stateless_uniform([], epoch_seed, None, None, tf.int64, alg="philox")
        skipped = tf.where(epoch == first_epoch, tf.constant(first_step_of_epoch * batch_size, tf.int64), 0)
        return (
            numbered.shuffle(min(shuffle_buffer, num_examples), seed=shuffle_seed)
            .take(steps_per_epoch * batch_size)
            .skip(skipped)
            .enumerate()
            .filter(lambda position, _: position % batch_size // share == shard)
            .map(lambda _, numbered_example: numbered_example)
            .map(lambda index, example: (tf.random.fold_in(epoch_seed, index, alg="philox"), index, example))
        )

    return tf.data.Dataset.counter(first_epoch).flat_map(epoch_of).with_options(options())


def options() -> tf.data.Options:
    """Of every pipeline that makes views."""
    found = tf.data.Options()
    found.deterministic = True
    # One thread per picture, many pictures at a time: faster, and no sum depends on the number of threads.
    found.threading.max_intra_op_parallelism = 1
    return found


def check_whole(**named) -> None:
    """Raise ValueError for what is no whole number of 64 bits, or below the least.

    Args:
        **named: for each name its value and the least, or None.
    """
    for name, (value, least) in named.items():
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not whole or not -(2**63) <= value < 2**63 or (least is not None and value < least):
            expected = "an integer" if least is None else f"an integer of at least {least}"
            raise ValueError(f"{name}: expected {expected}; got {value!r:.99}")


def _check(num_examples, batch_size, first_step, num_shards, shard):
    if num_examples < 0:
        raise ValueError(
            "expected a finite dataset of known cardinality: apply "
            "tf.data.experimental.assert_cardinality, and no `.repeat()`"
        )
    if not 1 <= batch_size <= num_examples:
        raise ValueError(
            f"batch_size: expected 1 to {num_examples}, the number of examples, as every batch is full; "
            f"got {batch_size}"
        )
    if batch_size % num_shards or not 0 <= shard < num_shards:
        raise ValueError(
            f"expected a batch_size that num_shards divides, and 0 <= shard < num_shards; got "
            f"batch_size={batch_size}, num_shards={num_shards}, shard={shard}"
        )
    if first_step < 0:
        raise ValueError(f"first_step: expected at least 0; got {first_step}")
