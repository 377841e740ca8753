"""The features of action units that builders share, so that what reads one data set reads the others.

Not for intensities: each builder says what its own are.
"""

import numpy as np
import tensorflow_datasets as tfds


def occurrence(units: int | None) -> dict[str, tfds.features.Tensor]:
    """Features `occurrence` and `coded` of an example, both `(units,)`.

    Args:
      units: Number of action units; None where the copy tells.
    """
    return {
        "occurrence": tfds.features.Tensor(
            shape=(units,), dtype=np.uint8, doc="In the order of info.metadata['action_units']."
        ),
        "coded": tfds.features.Tensor(
            shape=(units,), dtype=np.bool_, doc="False: not coded, and occurrence says nothing."
        ),
    }
