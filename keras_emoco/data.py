"""From a built TFDS data set to training batches: two views with emotions, or one with action units.

Reads what is on disk as TFRecord or as ArrayRecord; both give the same batches. Not for building data sets,
nor for evaluation, which takes every face once and in order (`augment.images`).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from keras_emoco import augment
from keras_emoco.augment import stream

_RECORDS = 64  # read from ArrayRecord files in one call of Python


def emotion_batches(
    builder: tfds.core.DatasetBuilder | str,
    image_size: int,
    batch_size: int,
    *,
    split: str = "train",
    data_dir: str | None = None,
    balance: float = 0.0,
    seed: int = 0,
    **options: Any,
) -> tf.data.Dataset:
    """Makes the endless dataset of `((query_view, key_view), label)` for `EmoCo.fit` from a data set.

    It is `augment.two_views` of `emotion_examples`, and keeps its promises: views depend on (seed, epoch,
    position of the example) alone, and the batches of all shards side by side are those of one process.

    Args:
        builder: As for `emotion_examples`.
        image_size: Height and width of the views in pixels.
        batch_size: Examples per batch, over all shards; every batch is full.
        split: As for `emotion_examples`.
        data_dir: As for `emotion_examples`.
        balance: As for `emotion_examples`.
        seed: Seed of the choice of repeated faces, of the order and of the views.
        **options: Of `augment.two_views`: `policy`, `first_step`, `num_shards`, `shard`, `data_service`, ...

    Returns:
        As `augment.two_views`. An epoch has `len(emotion_examples(...)) // batch_size` steps.

    Raises:
        What `emotion_examples` and `augment.two_views` raise.

    Example:
    ```python
    from keras_emoco import data

    batches = data.emotion_batches("fer2013", image_size=48, batch_size=128)
    model.fit(batches, steps_per_epoch=28709 // 128, epochs=10)
    ```
    """
    faces = emotion_examples(builder, split=split, data_dir=data_dir, balance=balance, seed=seed)
    return augment.two_views(faces, image_size, batch_size, seed=seed, **options)


def emotion_examples(
    builder: tfds.core.DatasetBuilder | str,
    *,
    split: str = "train",
    data_dir: str | None = None,
    balance: float = 0.0,
    seed: int = 0,
) -> tf.data.Dataset:
    """The faces of a split with their emotions, in the same order at each pass.

    With `balance` the most frequent emotion keeps its `m` faces, once each, and one of `n` faces comes to
    `m (n / m)^(1 - balance)`: at 0 to its own `n`, at 1 to `m`, at 0.5 to their geometric mean. No face is
    left out. Those of an emotion are repeated equally often, up to one time, by a draw that `seed` decides.

    The paper does not balance. A repeated face has other views each time, but meets itself among its own
    negatives, the more often the more it is repeated.

    Args:
        builder: A built data set, or its name as `tfds.builder` takes it.
        split: As TFDS has it: `train`, `part1+part2`, `train[:80%]`.
        data_dir: Where TFDS keeps what it built, if `builder` is a name; None for `~/tensorflow_datasets`.
        balance: From 0 (faces as they are) to 1 (all emotions equally often).
        seed: Decides which faces of an emotion are repeated once more than others.

    Returns:
        Dataset of `(image, label)`: scalar string, the bytes of the file; int64 scalar. Its cardinality is
        known.

    Raises:
        FileNotFoundError: the data set has not been built.
        ValueError: it has no class label `emotion`, `balance` is outside [0, 1], or a face is unlabelled
            where faces are to be balanced.
    """
    builder = _built(builder, data_dir)
    emotion_names(builder)
    if not isinstance(balance, (int, float)) or not 0 <= balance <= 1:
        raise ValueError(f"balance: expected 0 (faces as they are) to 1 (equal emotions); got {balance}")
    faces = examples(builder, split).map(lambda example: (example["image"], example["emotion"]))
    if balance == 0:
        return faces
    labels = np.fromiter(faces.map(lambda image, label: label).as_numpy_iterator(), np.int64)
    times = _repetitions(labels, balance, seed)
    constant_times = tf.constant(times)
    # One pass over the files; a dataset of each emotion would read them all as often as the rarest repeats.
    return (
        faces.enumerate()
        .flat_map(lambda row, example: tf.data.Dataset.from_tensors(example).repeat(constant_times[row]))
        .apply(tf.data.experimental.assert_cardinality(int(times.sum())))
    )


def action_unit_batches(
    builder: tfds.core.DatasetBuilder | str,
    image_size: int,
    batch_size: int,
    *,
    split: str = "train",
    data_dir: str | None = None,
    action_units: Sequence[int] | None = None,
    policy: augment.Policy = augment.MOCO_V2,
    **options: Any,
) -> tf.data.Dataset:
    """Makes the endless dataset of `(images, labels)` for `AUDetector.fit` from a data set.

    One random view of each face. It depends on (seed, epoch, position of the face) alone and the order on
    (seed, epoch): it is the query view, in the order, that `augment.two_views` would make of the same faces.

    Args:
        builder: A built data set with action units, or its name as `tfds.builder` takes it.
        image_size: Height and width of the views in pixels.
        batch_size: Faces per batch, over all shards; every batch is full.
        split: As TFDS has it: `train`, `part1+part2`, `train[:80%]`.
        data_dir: Where TFDS keeps what it built, if `builder` is a name; None for `~/tensorflow_datasets`.
        action_units: Numbers of the `A` units of the labels, in their order; None for all of the data set.
        policy: Strengths and probabilities of the augmentation.
        **options: Of `augment.stream.epochs`: `seed`, `first_step`, `shuffle_buffer`, `num_shards`, `shard`.

    Returns:
        Dataset of float32 `(b, image_size, image_size, 3)` and float32 `(b, A)`: 1 present, 0 absent, -1 not
        coded; b is `batch_size // num_shards`. An epoch has
        `builder.info.splits[split].num_examples // batch_size` steps.

    Raises:
        FileNotFoundError: the data set has not been built.
        ValueError: it has no action units, or not those asked for; and what `augment.stream.epochs` raises.
        tf.errors.InvalidArgumentError: on iteration, an image cannot be decoded.
    """
    builder = _built(builder, data_dir)
    columns = _columns(builder, action_units)
    augment.stream.check_whole(image_size=(image_size, 2), batch_size=(batch_size, 1))

    def view(seed, index, example):
        pixels = augment.decoding.decode(example["image"], index)
        query_seed = tf.random.fold_in(seed, tf.constant(0, tf.int64), alg="philox")
        return augment.random_view(pixels, query_seed, image_size, policy), _labels(example, columns)

    return (
        stream.epochs(examples(builder, split), batch_size, **options)
        .map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size // options.get("num_shards", 1), drop_remainder=True)
        .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        .prefetch(tf.data.AUTOTUNE)
    )


def _built(builder, data_dir):
    if isinstance(builder, str):
        builder = tfds.builder(builder, data_dir=data_dir)
    if not builder.is_prepared():
        raise FileNotFoundError(
            f"{builder.data_path}: {builder.name} has not been built; build it by `python -m trainers.build` "
            "or builder.download_and_prepare, or correct data_dir"
        )
    return builder


def emotion_names(builder: tfds.core.DatasetBuilder) -> list[str]:
    """The names of a data set's emotions, in the order of their labels.

    Raises:
        ValueError: it has no class label `emotion`.
    """
    feature = dict(builder.info.features).get("emotion")
    if not isinstance(feature, tfds.features.ClassLabel):
        raise ValueError(_lacks(builder, "class label 'emotion'"))
    return list(feature.names)


def action_unit_numbers(builder: tfds.core.DatasetBuilder) -> list[int]:
    """The numbers of a data set's action units, in the order of their labels.

    Raises:
        ValueError: it has none, or does not say which.
    """
    if "action_units" not in builder.info.features:
        raise ValueError(_lacks(builder, "action_units"))
    if "action_units" not in (builder.info.metadata or {}):
        raise ValueError(
            f"{builder.info.full_name} does not say which action units it has: its builder must put their "
            "numbers into the metadata, as 'action_units'"
        )
    return [int(unit) for unit in builder.info.metadata["action_units"]]


def _lacks(builder, what):
    features = ", ".join(builder.info.features)
    return f"{builder.info.full_name} has no {what}: its features are {features}; name a set that has"


def examples(builder: tfds.core.DatasetBuilder, split: str) -> tf.data.Dataset:
    """The examples of a split, in the same order at each pass, `image` as the bytes of its file."""
    decoders = {"image": tfds.decode.SkipDecoding()}
    if builder.info.file_format != tfds.core.FileFormat.ARRAY_RECORD:
        return builder.as_dataset(
            split=split,
            decoders=decoders,
            shuffle_files=False,
            read_config=tfds.ReadConfig(interleave_cycle_length=1),
        )
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    source = builder.as_data_source(split, deserialize_method=raw)

    def read(rows):
        return np.array(source.__getitems__(rows.tolist()), object)

    def records(rows):
        return tf.ensure_shape(tf.numpy_function(read, [rows], tf.string), [None])

    return (
        tf.data.Dataset.range(len(source))
        .batch(_RECORDS)
        .map(records)
        .unbatch()
        # `as_dataset` refuses ArrayRecord; this is its parser, so both formats give the same tensors.
        .map(lambda record: builder.info.features.deserialize_example(record, decoders=decoders))
        .apply(tf.data.experimental.assert_cardinality(len(source)))
    )


def _repetitions(labels, balance, seed):
    """How often each face comes in an epoch, `(n,)` int64; see `emotion_examples`."""
    if not labels.size:
        raise ValueError("the split has no face that could be balanced: give another")
    if labels.min() < 0:
        raise ValueError(
            f"face {int(np.argmax(labels < 0))} of the split has no emotion, so faces cannot be balanced: "
            "leave balance at 0"
        )
    faces = np.bincount(labels)
    most = faces.max()
    wanted = np.where(faces > 0, np.rint(most * (faces / most) ** (1 - balance)), 0).astype(np.int64)
    whole, rest = np.divmod(wanted, np.maximum(faces, 1))
    times = whole[labels]
    draw = np.random.default_rng(seed)
    for emotion in np.flatnonzero(rest):
        times[draw.choice(np.flatnonzero(labels == emotion), rest[emotion], replace=False)] += 1
    return times


def _columns(builder, action_units):
    """Where the action units stand in the data set's order."""
    units = action_unit_numbers(builder)
    wanted = units if action_units is None else list(action_units)
    missing = [unit for unit in wanted if unit not in units]
    if missing or not wanted:
        raise ValueError(f"action_units: expected some of {units}, which the data has; got {wanted}")
    return [units.index(unit) for unit in wanted]


def _labels(example, columns):
    units = example["action_units"]
    labels = tf.cast(units["occurrence"], tf.float32)
    if "coded" in units:
        labels = tf.where(units["coded"], labels, -1.0)
    return tf.ensure_shape(tf.gather(labels, columns), [len(columns)])
