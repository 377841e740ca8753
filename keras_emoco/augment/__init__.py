"""The two random views of MoCo v2 as a tf.data transformation, and the fixed view for evaluation.

Runs on the CPU inside tf.data, whatever the Keras backend. Not a set of Keras layers, and not a reader of
files: the examples come from a `tf.data.Dataset`.
"""

from keras_emoco.augment.ops import MEAN, STD, normalize
from keras_emoco.augment.pipeline import images, two_views
from keras_emoco.augment.views import MOCO_V2, Policy, center_view, random_view

__all__ = [
    "MEAN",
    "MOCO_V2",
    "STD",
    "Policy",
    "center_view",
    "images",
    "normalize",
    "random_view",
    "two_views",
]
