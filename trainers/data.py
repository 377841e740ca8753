"""From a TFDS name to examples with their pictures still encoded. Builders are in `tfds_builders`."""

import errno
import os

import tensorflow as tf
import tensorflow_datasets as tfds
from absl import flags

import tfds_builders  # noqa: F401  (registers the builders)

# The programs read as a user's script does.
from keras_emoco.data import action_unit_numbers, emotion_names, examples  # noqa: F401

NO_SPACE = os.strerror(errno.ENOSPC)


def define_flags():
    """Where built data and the owners' copies lie."""
    flags.DEFINE_string("data_dir", None, "where TFDS keeps built data; default ~/tensorflow_datasets")
    flags.DEFINE_string("manual_dir", None, "where data that cannot be downloaded lies")


def prepare(dataset: str, data_dir: str | None = None, manual_dir: str | None = None):
    """The builder of a data set, built if it was not.

    Args:
        dataset: as `tfds.load` takes it.
        data_dir: where TFDS keeps what it built; None for `~/tensorflow_datasets`.
        manual_dir: where the data set lies as its owner distributes it.

    Raises:
        FileNotFoundError: a file of what was built is missing.
        OSError, ValueError: what `build` raises.
    """
    builder = tfds.builder(dataset, data_dir=data_dir)
    build(builder, tfds.download.DownloadConfig(manual_dir=manual_dir) if manual_dir else None)
    missing = [path for path, _ in _files(builder) if not path.exists()]
    if missing:
        raise FileNotFoundError(
            f"{missing[0]} is missing ({len(missing)} files of {builder.info.full_name}): put it back, or "
            f"remove {builder.data_path} to have the data set built again"
        )
    return builder


def build(builder: tfds.core.DatasetBuilder, config: tfds.download.DownloadConfig | None = None) -> None:
    """Build a data set, whole or not at all, unless it was built.

    Raises:
        OSError: the disk is full.
        OSError, ValueError: what the builder raises; one is that its source is not in the manual directory.
    """
    try:
        builder.download_and_prepare(download_config=config)
    # TensorFlow's writers raise no OSError, and TFDS makes a RuntimeError of what they raise.
    except Exception as error:
        if NO_SPACE not in str(error):
            raise
        raise OSError(
            f"cannot build {builder.name} in {builder.data_path} ({NO_SPACE}): nothing of it is kept. Make "
            "room, or give another --data_dir; the same command builds it anew"
        ) from error


def damage(builder: tfds.core.DatasetBuilder) -> str | None:
    """The first file of a built data set that is not as it was written, and why; reads all of them."""
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        return None
    for path, expected in _files(builder):
        try:
            found = sum(1 for _ in tf.data.TFRecordDataset(str(path)))
        except tf.errors.OpError as error:
            return f"{path} is damaged ({error.message.split(' [Op:')[0]})"
        if found != expected:
            return f"{path} is damaged (it holds {found} examples of {expected})"
    return None


def _files(builder):
    """`(path, examples)` of each file; of none where TFDS keeps pictures as their own files."""
    splits = [split for split in builder.info.splits.values() if split.filename_template]
    return [pair for split in splits for pair in zip(split.filepaths, split.shard_lengths, strict=True)]


def emotions(builder, labels: list) -> list[str]:
    """The names of emotion labels, class numbers or text as the data set has them; empty where unlabelled."""
    feature = builder.info.features["emotion"]
    if not isinstance(feature, tfds.features.ClassLabel):
        return [label.decode() for label in labels]
    return [feature.names[label] if label >= 0 else "" for label in labels]
