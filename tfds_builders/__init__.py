"""TFDS builders of the data sets, one folder each; importing this package registers them with `tfds.load`.

Not for reading what they have built: `tfds.load` does that.
"""

from tfds_builders.action_unit_folder import action_unit_folder_dataset_builder
from tfds_builders.affectnet import affectnet_dataset_builder
from tfds_builders.bp4d import bp4d_dataset_builder
from tfds_builders.disfa import disfa_dataset_builder
from tfds_builders.fer2013 import fer2013_dataset_builder
from tfds_builders.gft import gft_dataset_builder
from tfds_builders.rafdb import rafdb_dataset_builder
from tfds_builders.synthetic_faces import synthetic_faces_dataset_builder

__all__ = [
    "action_unit_folder_dataset_builder",
    "affectnet_dataset_builder",
    "bp4d_dataset_builder",
    "disfa_dataset_builder",
    "fer2013_dataset_builder",
    "gft_dataset_builder",
    "rafdb_dataset_builder",
    "synthetic_faces_dataset_builder",
]
