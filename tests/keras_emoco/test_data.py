"""Batches from data sets on disk: a toy one, built here as TFRecord and as ArrayRecord in other shards."""

import io

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from keras_emoco import augment, data

EMOTIONS = ("neutral", "happy", "sad", "contempt")
# Faces of each emotion, and in an epoch at balance 0.5 and 1: 8 sqrt(8/8), 8 sqrt(4/8) = 5.7, 8 sqrt(2/8).
FACES = {0: (8, 4, 2, 0), 0.5: (8, 6, 4, 0), 1: (8, 8, 8, 0)}
UNITS = [1, 12, 4]
# What these tests compare does not depend on colours, and the graph without them is made much faster.
CROPS = augment.Policy(jitter_probability=0.0, grayscale_probability=0.0, blur_probability=0.0)


def jpeg(number):
    file = io.BytesIO()
    coarse = np.random.default_rng(number).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((24, 24), Image.Resampling.BILINEAR).save(file, "JPEG")
    return file.getvalue()


def units_of(number):
    """Occurrence and coded of a face: the binary digits of its number, and every third code is missing."""
    occurrence = np.array([number >> digit & 1 for digit in range(3)], np.uint8)
    return occurrence, (number + np.arange(3)) % 3 != 0


class ToyFaces(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        units = {
            "occurrence": tfds.features.Tensor(shape=(None,), dtype=np.uint8),
            "coded": tfds.features.Tensor(shape=(None,), dtype=np.bool_),
        }
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "emotion": tfds.features.ClassLabel(names=EMOTIONS),
            "number": tfds.features.Scalar(np.int64),
            "action_units": units,
        }
        metadata = tfds.core.MetadataDict(action_units=UNITS)
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), metadata=metadata
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number, emotion in enumerate(np.repeat(EMOTIONS, FACES[0]).tolist()):
            occurrence, coded = units_of(number)
            yield (
                number,
                {
                    "image": io.BytesIO(jpeg(number)),
                    "emotion": emotion,
                    "number": number,
                    "action_units": {"occurrence": occurrence, "coded": coded},
                },
            )


class NoLabels(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict({"image": tfds.features.Image()})
        )

    def _split_generators(self, dl_manager):
        return {"train": iter([(0, {"image": io.BytesIO(jpeg(0))})])}

    def _generate_examples(self):
        pass


def build(cls, data_dir, file_format, num_shards):
    builder = cls(data_dir=data_dir, file_format=file_format)
    config = tfds.download.DownloadConfig(num_shards=num_shards)
    builder.download_and_prepare(download_config=config)
    return builder


@pytest.fixture(scope="module")
def builders(tmp_path_factory):
    data_dir = tmp_path_factory.mktemp("data")
    return {
        file_format: build(ToyFaces, data_dir / file_format, file_format, shards)
        for file_format, shards in (("tfrecord", 3), ("array_record", 2))
    }


@pytest.fixture(scope="module")
def builder(builders):
    return builders["tfrecord"]


def numbers(builder):
    """The numbers of the faces, in the order on disk."""
    return np.array([example["number"] for example in tfds.as_numpy(builder.as_dataset(split="train"))])


def emotions(builder, steps, batch_size=4, **options):
    """The first batches: queries, keys, labels, each with a leading axis of steps."""
    batches = data.emotion_batches(builder, 8, batch_size, policy=CROPS, **options).take(steps)
    flat = [(query, key, label) for (query, key), label in batches.as_numpy_iterator()]
    return [np.stack(part) for part in zip(*flat, strict=True)]


def units(builder, steps, batch_size=4, **options):
    """The first batches: images, labels, each with a leading axis of steps."""
    batches = data.action_unit_batches(builder, 8, batch_size, policy=CROPS, **options).take(steps)
    return [np.stack(part) for part in zip(*batches.as_numpy_iterator(), strict=True)]


def assert_equal(one, other):
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


READERS = pytest.mark.parametrize(
    ("read", "options"), [(emotions, {}), (emotions, {"balance": 1, "seed": 2}), (units, {"seed": 2})]
)


@READERS
def test_both_formats_give_the_same_batches_bit_for_bit(builders, read, options):
    suffixes = {
        name: sorted(path.suffixes[-1].split("-")[0] for path in builder.data_path.glob("*-0*"))
        for name, builder in builders.items()
    }
    assert suffixes == {"tfrecord": [".tfrecord"] * 3, "array_record": [".array_record"] * 2}
    one, other = (read(builder, 7, **options) for builder in builders.values())
    assert_equal(one, other)


@READERS
def test_shards_side_by_side_are_the_batches_of_one_process(builder, read, options):
    whole = read(builder, 5, first_step=1, **options)
    shards = [read(builder, 5, first_step=1, num_shards=2, shard=shard, **options) for shard in (0, 1)]
    assert shards[0][0].shape == (5, 2, 8, 8, 3)
    assert_equal([np.concatenate(parts, axis=1) for parts in zip(*shards, strict=True)], whole)


@READERS
def test_a_resumed_stream_is_the_uninterrupted_one(builder, read, options):
    # Three steps an epoch of 14 faces, six of 24: inside the first, and at a border.
    whole = read(builder, 9, **options)
    for first_step in (1, 6):
        rest = read(builder, 9 - first_step, first_step=first_step, **options)
        assert_equal([part[first_step:] for part in whole], rest)


@READERS
def test_batches_depend_on_the_seed_and_not_on_the_global_one(builder, read, options):
    first = read(builder, 4, **options)
    tf.random.set_seed(5)
    np.random.seed(5)  # noqa: NPY002, the global state that must not matter
    assert_equal(first, read(builder, 4, **options))
    other = read(builder, 4, **{**options, "seed": 9})
    assert not np.array_equal(first[0], other[0])


def test_a_name_stands_for_its_builder(builder):
    assert_equal(emotions(builder, 2), emotions("toy_faces", 2, data_dir=builder._data_dir_root))


def test_views_are_those_of_the_faces_on_disk(builder):
    files = [jpeg(number) for number in numbers(builder)]
    labels = np.repeat(np.arange(4), FACES[0])[numbers(builder)]
    faces = tf.data.Dataset.from_tensor_slices((files, labels))
    batches = augment.two_views(faces, 8, 4, policy=CROPS, seed=1).take(5)
    expected = [(*views, label) for views, label in batches]
    assert_equal([np.stack(part) for part in zip(*expected, strict=True)], emotions(builder, 5, seed=1))


@pytest.mark.parametrize("balance", FACES)
def test_an_epoch_has_the_frequencies_computed_by_hand(builder, balance):
    examples = data.emotion_examples(builder, balance=balance)
    assert len(examples) == sum(FACES[balance])
    _, _, labels = emotions(builder, 1, batch_size=len(examples), balance=balance)
    assert np.bincount(labels[0], minlength=4).tolist() == list(FACES[balance])


def test_every_face_is_there_and_those_of_an_emotion_equally_often(builder):
    def times(seed):
        examples = data.emotion_examples(builder, balance=0.5, seed=seed)
        files = [image for image, _ in examples.as_numpy_iterator()]
        return np.array([sum(file == jpeg(number) for file in files) for number in range(14)])

    first = times(0)
    # 8 of 8, 6 of 4, 4 of 2: one of two of the middle emotion comes twice, and the seed decides which.
    assert first[:8].tolist() == [1] * 8
    assert sorted(first[8:12]) == [1, 1, 2, 2]
    assert first[12:].tolist() == [2, 2]
    assert np.array_equal(first, times(0))
    assert len({tuple(times(seed)) for seed in range(5)}) > 1


def test_a_repeated_face_has_other_views(builder):
    query, key, labels = emotions(builder, 1, batch_size=24, balance=1)
    assert np.count_nonzero(labels == 2) == 8  # of two faces
    views = [*query[labels == 2], *key[labels == 2]]
    assert len({view.tobytes() for view in views}) == 16


def test_labels_are_the_codes_with_minus_one_for_what_was_not_coded(builder):
    # Views of the same seed tell which face a row is: two_views has them with the row as the label.
    order = numbers(builder)
    faces = tf.data.Dataset.from_tensor_slices(([jpeg(number) for number in order], order))
    batches = augment.two_views(faces, 8, 4, policy=CROPS, seed=3).take(5)
    expected = list(batches.as_numpy_iterator())
    images, labels = units(builder, 5, seed=3)
    assert labels.dtype == np.float32
    for step, ((query, _), row_numbers) in enumerate(expected):
        np.testing.assert_array_equal(images[step], query)
        for label, number in zip(labels[step], row_numbers, strict=True):
            occurrence, coded = units_of(number)
            assert label.tolist() == [int(o) if c else -1 for o, c in zip(occurrence, coded, strict=True)]
    assert {-1, 0, 1} == set(labels.ravel())


def test_units_asked_for_are_the_columns_in_that_order(builder):
    _, every = units(builder, 2)
    _, two = units(builder, 2, action_units=(4, 1))
    np.testing.assert_array_equal(two, every[..., [2, 0]])


def test_spec_and_cardinality_are_what_fit_needs(builder):
    dataset = data.action_unit_batches(builder, 8, 4, num_shards=2)
    image, label = tf.TensorSpec((2, 8, 8, 3), tf.float32), tf.TensorSpec((2, 3), tf.float32)
    assert dataset.element_spec == (image, label)
    assert dataset.cardinality() == tf.data.INFINITE_CARDINALITY


def test_wrong_requests_are_refused(builder, tmp_path):
    with pytest.raises(FileNotFoundError, match="toy_faces has not been built; build it by"):
        data.emotion_batches("toy_faces", 8, 4, data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"balance: expected 0 .* to 1 .*; got 2"):
        data.emotion_batches(builder, 8, 4, balance=2)
    with pytest.raises(ValueError, match=r"expected some of \[1, 12, 4\], which the data has; got \[1, 2\]"):
        data.action_unit_batches(builder, 8, 4, action_units=[1, 2])
    with pytest.raises(ValueError, match="batch_size: expected 1 to 14"):
        data.action_unit_batches(builder, 8, 15)
    with pytest.raises(ValueError, match="batch_size=4, num_shards=3, shard=0"):
        data.action_unit_batches(builder, 8, 4, num_shards=3)
    with pytest.raises(ValueError, match="first_step: expected at least 0; got -1"):
        data.action_unit_batches(builder, 8, 4, first_step=-1)
    other = build(NoLabels, tmp_path, "tfrecord", 1)
    with pytest.raises(ValueError, match="no class label 'emotion': its features are image"):
        data.emotion_batches(other, 8, 4)
    with pytest.raises(ValueError, match="no action_units: its features are image"):
        data.action_unit_batches(other, 8, 4)
