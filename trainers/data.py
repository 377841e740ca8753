"""From a TFDS name to examples with their pictures still encoded. Builders are in `tfds_builders`."""

import tensorflow_datasets as tfds
from absl import flags

import tfds_builders  # noqa: F401  (registers the builders)

# The programs read as a user's script does.
from keras_emoco.data import action_unit_numbers, emotion_names, examples  # noqa: F401


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
    """
    builder = tfds.builder(dataset, data_dir=data_dir)
    config = tfds.download.DownloadConfig(manual_dir=manual_dir) if manual_dir else None
    builder.download_and_prepare(download_config=config)
    return builder


def emotions(builder, labels: list) -> list[str]:
    """The names of emotion labels, class numbers or text as the data set has them; empty where unlabelled."""
    feature = builder.info.features["emotion"]
    if not isinstance(feature, tfds.features.ClassLabel):
        return [label.decode() for label in labels]
    return [feature.names[label] if label >= 0 else "" for label in labels]
