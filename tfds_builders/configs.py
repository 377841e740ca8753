"""Names of configs: each in two variants, images as they are and aligned; and the choice of one by name.

Not for what a config means: each builder says that.
"""

import dataclasses
from collections.abc import Iterable

import tensorflow_datasets as tfds

SUFFIX = "_aligned"


def with_aligned(configs: Iterable[tfds.core.BuilderConfig]) -> tuple[tfds.core.BuilderConfig, ...]:
    """Returns each config, followed by its variant that stores aligned crops: `csv_7`, `csv_7_aligned`."""
    return tuple(
        variant
        for config in configs
        for variant in (config, dataclasses.replace(config, name=config.name + SUFFIX))
    )


def is_aligned(config: tfds.core.BuilderConfig) -> bool:
    """Whether the config stores aligned crops."""
    return config.name.endswith(SUFFIX)


def choose(name: str, configs: Iterable[tfds.core.BuilderConfig]) -> tfds.core.BuilderConfig:
    """Returns the config of that name, for `get_builder_config` of a builder that lists only its first.

    Raises:
      ValueError: if there is none.
    """
    by_name = {config.name: config for config in configs}
    if name not in by_name:
        raise ValueError(f"expected one of the configs {', '.join(by_name)}; got {name!r}.")
    return by_name[name]
