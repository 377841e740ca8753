"""The stream of two-view batches: repeatable, resumable, whole epochs; and the batches of evaluation."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_emoco import augment

FLIP_ONLY = augment.Policy(
    crop_scale=(1.0, 1.0), jitter_probability=0.0, grayscale_probability=0.0, blur_probability=0.0
)


def picture(seed):
    """uint8 (24, 24, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((24, 24), Image.Resampling.BILINEAR))


def encoded(pixels, image_format="JPEG"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, image_format)
    return file.getvalue()


def examples(count, same=False):
    """Pairs of (JPEG, index): the label tells which example it is."""
    files = [encoded(picture(0 if same else i)) for i in range(count)]
    return tf.data.Dataset.from_tensor_slices((files, np.arange(count)))


def stream(dataset, steps, batch_size=4, policy=augment.MOCO_V2, **options):
    """The first batches of 8 x 8 views, as (queries, keys, labels) with a leading axis of steps."""
    batches = augment.two_views(dataset, 8, batch_size, policy=policy, **options).take(steps)
    flat = [(query, key, label) for (query, key), label in batches.as_numpy_iterator()]
    return [np.stack(part) for part in zip(*flat, strict=True)]


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_spec_and_cardinality_are_what_fit_needs():
    dataset = augment.two_views(examples(10), 8, 4)
    image = tf.TensorSpec((4, 8, 8, 3), tf.float32)
    assert dataset.element_spec == ((image, image), tf.TensorSpec((4,), tf.int32))
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY


def test_stream_repeats_whatever_the_parallelism_and_the_global_seed():
    first = stream(examples(10), 7, num_parallel_calls=1)
    for global_seed, num_parallel_calls in ((0, 4), (5, tf.data.AUTOTUNE)):
        tf.random.set_seed(global_seed)
        assert_equal(first, stream(examples(10), 7, num_parallel_calls=num_parallel_calls))
    other = stream(examples(10), 7, seed=1)
    assert not np.array_equal(first[2], other[2])


def test_resumed_stream_is_the_uninterrupted_one():
    # Two steps an epoch: inside the first, at the border of the second, inside the third.
    whole = stream(examples(10), 7, seed=3)
    for first_step in (1, 2, 5):
        rest = stream(examples(10), 7 - first_step, seed=3, first_step=first_step)
        assert_equal([part[first_step:] for part in whole], rest)


def test_shards_side_by_side_are_the_batches_of_one_process():
    whole = stream(examples(10), 5, first_step=1)
    shards = [stream(examples(10), 5, first_step=1, num_shards=2, shard=shard) for shard in (0, 1)]
    assert shards[0][0].shape == (5, 2, 8, 8, 3)
    assert_equal([np.concatenate(parts, axis=1) for parts in zip(*shards, strict=True)], whole)


def test_a_shard_decodes_its_own_share_alone():
    files, labels = zip(*examples(8).as_numpy_iterator(), strict=True)
    order = stream(examples(8), 2)[2].ravel()
    others = order.reshape(2, 4)[:, 2:]
    damaged = [b"" if label in others else file for file, label in zip(files, labels, strict=True)]
    dataset = tf.data.Dataset.from_tensor_slices((damaged, np.array(labels)))
    np.testing.assert_array_equal(stream(dataset, 2, num_shards=2, shard=0)[2], order.reshape(2, 4)[:, :2])


def test_resuming_neither_decodes_nor_reads_what_came_before():
    reads = []

    def generate(broken=()):
        reads.append("pass")
        for i in range(12):
            yield (b"no picture" if i in broken else encoded(picture(i))), i

    def dataset(broken=()):
        spec = (tf.TensorSpec((), tf.string), tf.TensorSpec((), tf.int32))
        return tf.data.Dataset.from_generator(lambda: generate(broken), output_signature=spec)

    _, _, labels = stream(dataset(), 5, policy=FLIP_ONLY, num_examples=12)
    # The fifth batch is the second of the second epoch.
    skipped = set(labels[3])
    reads.clear()
    # Prefetching runs ahead into the next epoch, where the broken ones return: a batch at a time.
    resumed = augment.two_views(
        dataset(skipped), 8, 4, policy=FLIP_ONLY, num_examples=12, first_step=4, num_parallel_calls=1
    )
    batches = iter(resumed)
    np.testing.assert_array_equal(next(batches)[1], labels[4])
    assert 1 <= len(reads) <= 2


@pytest.mark.parametrize("shuffle_buffer", [3, 12, 1000])
def test_every_epoch_is_a_permutation_of_its_own(shuffle_buffer):
    _, _, labels = stream(examples(12), 12, policy=FLIP_ONLY, shuffle_buffer=shuffle_buffer)
    epochs = labels.reshape(4, 12)
    assert (np.sort(epochs, axis=1) == np.arange(12)).all()
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert labels.dtype == np.int32


def test_the_rest_of_an_epoch_is_dropped():
    _, _, labels = stream(examples(11), 6, policy=FLIP_ONLY)
    for epoch in labels.reshape(3, 8):
        assert len(set(epoch)) == 8
    assert set(labels.ravel()) == set(range(11))


def test_views_depend_on_the_example_and_not_on_its_place_in_the_shuffle():
    shuffled = stream(examples(12), 3)
    in_order = stream(examples(12), 3, shuffle_buffer=1)
    np.testing.assert_array_equal(in_order[2].ravel(), np.arange(12))
    order = shuffled[2].ravel()
    assert list(order) != sorted(order)
    for views, expected in zip(shuffled[:2], in_order[:2], strict=True):
        np.testing.assert_array_equal(views.reshape(12, 8, 8, 3), expected.reshape(12, 8, 8, 3)[order])


def test_views_differ_between_query_and_key_examples_epochs_and_seeds():
    # One picture twelve times: only the draws can differ.
    views = [*stream(examples(12, same=True), 9)[:2], *stream(examples(12, same=True), 9, seed=1)[:2]]
    assert len({view.tobytes() for part in views for view in part.reshape(-1, 8 * 8 * 3)}) == 4 * 36


def test_draws_of_query_and_key_and_of_epochs_are_independent():
    count = 400
    query, key, labels = stream(examples(count, same=True), 2, batch_size=count, policy=FLIP_ONLY)

    def flips(views, labels):  # in the order of the examples
        views = views[np.argsort(labels)].reshape(count, -1)
        return np.abs(views - views[0]).max(axis=1) > 1e-4

    draws = [flips(part[epoch], labels[epoch]) for part in (query, key) for epoch in (0, 1)]
    for i, one in enumerate(draws):
        assert abs(one.mean() - 0.5) < 0.1
        for other in draws[:i]:
            assert abs((one == other).mean() - 0.5) < 0.1


def test_dicts_pairs_pixels_and_files_give_the_same_stream():
    pixels = np.stack([picture(i) for i in range(6)])
    labels = np.arange(6, dtype=np.uint8)
    files = [encoded(image, "PNG") for image in pixels]
    expected = stream(tf.data.Dataset.from_tensor_slices((pixels, labels)), 3, 3, policy=FLIP_ONLY)
    for dataset in (
        tf.data.Dataset.from_tensor_slices((files, labels)),
        tf.data.Dataset.from_tensor_slices({"image": files, "emotion": labels, "subject": labels}),
        tf.data.Dataset.from_tensor_slices({"emotion": labels.astype(np.int64), "image": pixels}),
    ):
        assert_equal(expected, stream(dataset, 3, 3, policy=FLIP_ONLY))


def test_grey_pixels_have_three_channels():
    grey = np.stack([picture(i)[..., :1] for i in range(4)])
    query, _, _ = stream(tf.data.Dataset.from_tensor_slices((grey, np.arange(4))), 1, policy=FLIP_ONLY)
    assert query.shape == (1, 4, 8, 8, 3)


def test_wrong_datasets_are_refused():
    files, labels = [encoded(picture(0))] * 4, np.arange(4)

    def dataset(*element):
        return tf.data.Dataset.from_tensor_slices(element[0] if len(element) == 1 else element)

    for wrong in (
        dataset(files),
        dataset({"picture": files, "emotion": labels}),
        dataset({"image": files, "label": labels}),
        dataset(files, labels, labels),
        dataset((files, files), labels),
    ):
        with pytest.raises(TypeError, match=r"'image' and 'emotion'.*element_spec .*TensorSpec"):
            augment.two_views(wrong, 8, 2)
    with pytest.raises(TypeError, match=r"one integer; got .*float32"):
        augment.two_views(dataset(files, labels.astype(np.float32)), 8, 2)
    with pytest.raises(TypeError, match=r"one integer; got .*7"):
        augment.two_views(dataset(files, np.eye(4, 7, dtype=np.int32)), 8, 2)
    with pytest.raises(TypeError, match=r"uint8 pixels, 0 to 255; got .*float32"):
        augment.two_views(dataset(np.zeros((4, 8, 8, 3), np.float32), labels), 8, 2)
    with pytest.raises(ValueError, match="map before batching"):
        augment.two_views(dataset(files, labels).batch(2), 8, 2)
    with pytest.raises(TypeError, match=r"'image' and 'emotion'.*element_spec"):
        augment.images(dataset(files), 8, 2)


@pytest.mark.parametrize("shards", [{"num_shards": 3}, {"num_shards": 2, "shard": 2}])
def test_shards_that_do_not_fit_are_refused(shards):
    with pytest.raises(ValueError, match=r"batch_size=4, num_shards=\d, shard=\d"):
        augment.two_views(examples(10), 8, 4, **shards)


def test_wrong_numbers_are_refused():
    four = examples(4)
    with pytest.raises(ValueError, match=r"batch_size: expected 1 to 4, .* got 5"):
        augment.two_views(four, 8, 5)
    with pytest.raises(ValueError, match=r"batch_size: .* got 0"):
        augment.two_views(four, 8, 0)
    with pytest.raises(ValueError, match="first_step: expected at least 0; got -1"):
        augment.two_views(four, 8, 2, first_step=-1)
    with pytest.raises(ValueError, match=r"endless dataset: leave out `.repeat"):
        augment.two_views(four.repeat(), 8, 2)
    with pytest.raises(ValueError, match="holds 4; got 3"):
        augment.two_views(four, 8, 2, num_examples=3)
    unknown = four.filter(lambda image, label: label < 3)
    with pytest.raises(ValueError, match=r"unknown .* give num_examples"):
        augment.two_views(unknown, 8, 2)
    np.testing.assert_array_equal(
        np.sort(stream(unknown, 1, 3, policy=FLIP_ONLY, num_examples=3)[2]), [[0, 1, 2]]
    )
    for wrong in (2, 4):
        with pytest.raises(tf.errors.FailedPreconditionError, match=f"expected to contain {wrong} elements"):
            stream(unknown, 1, 2, policy=FLIP_ONLY, num_examples=wrong)


@pytest.mark.parametrize("damage", [lambda source: source[:-100], lambda source: b"<html>404"])
def test_damaged_file_is_named_by_its_position(damage):
    files = [encoded(picture(i)) for i in range(6)]
    files[4] = damage(files[4])
    dataset = tf.data.Dataset.from_tensor_slices((files, np.arange(6)))
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"cannot decode the image.*\[at example\] \[4\]"
    ):
        stream(dataset, 1, 6, policy=FLIP_ONLY)


def test_images_are_the_center_views_in_order():
    count = 7
    dataset = examples(count)
    expected = np.stack([augment.center_view(image, 16) for image, _ in dataset])
    batches = list(augment.images(dataset, 16, 3))
    assert [len(label) for _, label in batches] == [3, 3, 1]
    np.testing.assert_array_equal(np.concatenate([image for image, _ in batches]), expected)
    np.testing.assert_array_equal(np.concatenate([label for _, label in batches]), np.arange(count))

    whole = np.stack([augment.center_view(image, 16, crop=False) for image, _ in dataset])
    dicts = dataset.map(lambda image, label: {"image": image, "subject": label, "au": tf.ones(3)})
    image, rest = next(iter(augment.images(dicts, 16, 4, crop=False)))
    np.testing.assert_array_equal(image, whole[:4])
    assert rest.keys() == {"subject", "au"}
    np.testing.assert_array_equal(rest["subject"], np.arange(4))
    image, _ = next(iter(augment.images(dataset, 16, 4, resize_to=16)))
    np.testing.assert_array_equal(image[0], augment.center_view(next(iter(dataset))[0], 16, resize_to=16))
