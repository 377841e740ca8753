"""From a dataset of labelled pictures to the batches of contrastive training and of feature extraction.

Not a reader of files: `examples` come from TFDS or from the caller.
"""

from collections.abc import Sequence

import tensorflow as tf

from keras_emoco.augment import decoding, service, stream
from keras_emoco.augment.views import MOCO_V2, Policy, center_view, random_view


def two_views(
    examples: tf.data.Dataset,
    image_size: int,
    batch_size: int,
    *,
    policy: Policy = MOCO_V2,
    seed: int = 0,
    first_step: int = 0,
    num_examples: int | None = None,
    shuffle_buffer: int = stream.SHUFFLE_BUFFER,
    num_parallel_calls: int = tf.data.AUTOTUNE,
    num_shards: int = 1,
    shard: int = 0,
    data_service: Sequence[str] = (),
) -> tf.data.Dataset:
    """Makes the endless dataset of batches `((query_view, key_view), label)` for `EmoCo.fit`.

    One pass over `examples` is an epoch of `num_examples // batch_size` steps; the rest of the epoch is
    dropped. Views depend on (seed, epoch, position of the example in `examples`) alone and the order on
    (seed, epoch), not on `num_parallel_calls` nor on TensorFlow's global seed. So a run can be repeated, and
    resumed with `first_step`, bit for bit.

    Args:
        examples: Finite dataset, in the same order at each pass, of `{"image": ..., "emotion": ...}` (other
            keys are ignored) or `(image, label)`. The image is encoded bytes (scalar string; the better form,
            as the shuffle then holds files in memory) or uint8 (height, width, 1 or 3); the label an integer
            scalar.
        image_size: Height and width of the views in pixels.
        batch_size: Examples per batch, over all shards; every batch is full.
        policy: Strengths and probabilities of the augmentation.
        seed: Seed of the shuffling and of the views.
        first_step: Number of batches to leave out: the dataset begins where an uninterrupted one would be
            after so many. They are not decoded, and whole epochs among them not read.
        num_examples: Number of examples; needed where `examples.cardinality()` is unknown.
        shuffle_buffer: Examples held in memory for shuffling. From `num_examples` on the shuffle is a full
            one; with less, `examples` must not be sorted by class.
        num_parallel_calls: Examples augmented at the same time.
        num_shards: Processes that train together. Each reads the files of all examples, so that the batches
            of all together are those of one process alone, and decodes its own share.
        shard: Number of this process. Its part of a batch is the `shard`-th of `num_shards` in a row.
        data_service: `host:port` of hosts that run `python -m trainers.data_service` and make this process's
            part of each batch in equal shares; empty: it makes the views itself. The batches are the same
            bit for bit. The hosts read the files of `examples` under the same names.

    Returns:
        Dataset of `((query_view, key_view), label)`: float32 (b, image_size, image_size, 3) twice, int32
        (b,), where b is `batch_size // num_shards`. Its cardinality is infinite: give `steps_per_epoch` to
        `fit`.

    Raises:
        TypeError: elements of `examples` are neither of the two forms, or image or label is of a wrong type.
        ValueError: number of examples unknown, infinite or below `batch_size`; a negative `first_step`;
            shards that do not divide the batch; an image of a wrong shape.
        ConnectionError: a host of `data_service` does not answer.
        tf.errors.InvalidArgumentError: on iteration, an image cannot be decoded.
        tf.errors.OpError: on iteration, a host of `data_service` has ended, or was started again.
        tf.errors.FailedPreconditionError: on iteration, `examples` does not hold `num_examples`.
    """
    _check_examples(examples)
    stream.check_whole(image_size=(image_size, 2))
    num_examples = _num_examples(examples, num_examples)
    examples = examples.apply(tf.data.experimental.assert_cardinality(num_examples)).map(_image_and_label)

    def views(example_seed, index, example):
        image, label = example
        # Decoding the whole picture once is faster than decoding two crops, each 0.6 of it on average.
        pixels = decoding.decode(image, index)
        query, key = (
            random_view(
                pixels,
                tf.random.fold_in(example_seed, tf.constant(view, tf.int64), alg="philox"),
                image_size,
                policy,
            )
            for view in (0, 1)
        )
        return (query, key), tf.cast(label, tf.int32)

    def share_of(host):
        hosts = max(len(data_service), 1)
        return (
            stream.epochs(
                examples,
                batch_size,
                seed=seed,
                first_step=first_step,
                shuffle_buffer=shuffle_buffer,
                num_shards=num_shards * hosts,
                shard=shard * hosts + host,
            )
            .map(views, num_parallel_calls=num_parallel_calls, deterministic=True)
            .batch(batch_size // (num_shards * hosts), drop_remainder=True)
            .apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        )

    if data_service:
        stream.check_whole(batch_size=(batch_size, 1), num_shards=(num_shards, 1))
        service.check(data_service, batch_size // num_shards)
        batches = service.side_by_side(share_of, data_service, first_step)
    else:
        batches = share_of(0)
    return batches.prefetch(tf.data.AUTOTUNE)


def images(
    examples: tf.data.Dataset,
    image_size: int,
    batch_size: int,
    *,
    resize_to: int | None = None,
    crop: bool = True,
) -> tf.data.Dataset:
    """Makes the batches for feature extraction: the fixed view of every example, once, in order.

    Args:
        examples: Dataset of dicts with the key "image", or of `(image, label)`; images as for `two_views`.
        image_size: Height and width of the views in pixels.
        batch_size: Examples per batch; the last batch may be smaller.
        resize_to: As for `center_view`.
        crop: As for `center_view`.

    Returns:
        Dataset of `(view, rest)`: float32 (batch, image_size, image_size, 3), and the dict without
        "image", or the label.

    Raises:
        TypeError: elements of `examples` are neither of the two forms, or an image is neither a string nor
            uint8.
        ValueError: an image of a wrong shape; `image_size` or `resize_to` out of range.
        tf.errors.InvalidArgumentError: on iteration, an image cannot be decoded.
    """
    _check_image(examples)
    stream.check_whole(image_size=(image_size, 2), batch_size=(batch_size, 1))

    def view(*element):
        image, rest = element if len(element) == 2 else _without_image(*element)
        return center_view(image, image_size, resize_to, crop), rest

    return (
        examples.map(view, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size)
        .prefetch(tf.data.AUTOTUNE)
        .with_options(stream.options())
    )


def _without_image(example):
    return example["image"], {key: value for key, value in example.items() if key != "image"}


def _image_and_label(*element):
    return element if len(element) == 2 else (element[0]["image"], element[0]["emotion"])


def _check_image(examples):
    spec = examples.element_spec
    image = None
    if isinstance(spec, dict):
        image = spec.get("image")
    elif isinstance(spec, tuple) and len(spec) == 2:
        image = spec[0]
    if not isinstance(image, tf.TensorSpec):
        raise TypeError(
            "expected a dataset of dicts with the keys 'image' and 'emotion', or of (image, label) pairs; "
            f"got the element_spec {spec}: map the dataset to one of the two"
        )
    decoding.is_encoded(image)


def _check_examples(examples):
    _check_image(examples)
    spec = examples.element_spec
    if isinstance(spec, dict) and "emotion" not in spec:
        raise TypeError(
            f"expected the keys 'image' and 'emotion'; got the element_spec {spec}: map the label there"
        )
    label = spec["emotion"] if isinstance(spec, dict) else spec[1]
    if not (isinstance(label, tf.TensorSpec) and label.dtype.is_integer and label.shape.rank in (0, None)):
        raise TypeError(f"expected a label that is one integer; got {label} in the element_spec {spec}")


def _num_examples(examples, given):
    counted = int(examples.cardinality())
    if counted == tf.data.INFINITE_CARDINALITY:
        raise ValueError("expected one pass over the examples; got an endless dataset: leave out `.repeat()`")
    if counted == tf.data.UNKNOWN_CARDINALITY:
        if given is None:
            raise ValueError(
                "the number of examples is unknown (after `filter`, or from a generator): give num_examples, "
                "or apply tf.data.experimental.assert_cardinality to the examples"
            )
        stream.check_whole(num_examples=(given, 0))
        return given
    if given not in (None, counted):
        raise ValueError(f"num_examples: the dataset holds {counted}; got {given}: leave num_examples out")
    return counted
