"""The images that builders store: as they are, or aligned by a function that the caller gives.

Not for aligning: builders know no face detector, and `python -m trainers.build` passes them one.
"""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfds_builders import configs, sequences

SIZE = 256  # pixels, section III.A of the paper

# From an RGB image (height, width, 3) uint8 and the landmarks (n, 2) that the data set gives, x and y in its
# pixels, or None, to the crop (SIZE, SIZE, 3) uint8, or None where there is no face.
Aligner = Callable[[np.ndarray, np.ndarray | None], np.ndarray | None]


class AligningBuilder(sequences.SequenceBuilder, skip_registration=True):
    """A builder with configs that store aligned faces."""

    def __init__(self, *, aligner: Aligner | None = None, strict: bool = False, **kwargs: Any):
        """As `SequenceBuilder`; `aligner` cuts out faces, for the configs that store them aligned."""
        self._aligner = aligner
        super().__init__(strict=strict, **kwargs)


def check(builder: tfds.core.DatasetBuilder, aligner: Aligner | None) -> None:
    """Says what will be stored; to be called at the beginning of `_split_generators`.

    Raises:
      ValueError: if the config stores crops and there is no aligner, or there is one that it does not use.
    """
    name = f"{builder.name}/{builder.builder_config.name}"
    aligned = configs.is_aligned(builder.builder_config)
    if aligned and aligner is None:
        raise ValueError(
            f"{name} stores aligned faces and needs an aligner: build it by `python -m trainers.build "
            f"--dataset={name}`, or pass builder_kwargs={{'aligner': ...}}."
        )
    if aligner is not None and not aligned:
        raise ValueError(
            f"{name} stores images as they are, and would not use the aligner: build {name}{configs.SUFFIX}."
        )
    if not aligned:
        print(f"\n{name} stores images as they are; `python -m trainers.build --dataset={name}` aligns them.")


def image_feature(config: tfds.core.BuilderConfig) -> tfds.features.Image:
    """The feature for what `stored` returns."""
    if configs.is_aligned(config):
        return tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="jpeg", doc="Aligned face.")
    return tfds.features.Image(shape=(None, None, 3), doc="The image as its owner hands it out.")


def stored(
    image: bytes | np.ndarray, landmarks: np.ndarray | None, aligner: Aligner | None
) -> io.BytesIO | None:
    """What to store of an image: the bytes themselves without an aligner, otherwise the crop as JPEG.

    Args:
      image: A JPEG or PNG file, or the pixels of a video's frame, uint8 (height, width, 3).
      landmarks: As for `Aligner`.
      aligner: Or None, to store the image as it is.

    Returns:
      An encoded image, or None where the aligner finds no face.

    Raises:
      ValueError: if the aligner returns something else than a crop.
    """
    if aligner is None and isinstance(image, bytes):
        return io.BytesIO(image)
    if isinstance(image, bytes):
        with Image.open(io.BytesIO(image)) as picture:
            image = np.array(picture.convert("RGB"))
    if aligner is not None:
        image = aligner(image, landmarks)
        if image is None:
            return None
        if image.shape != (SIZE, SIZE, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"expected a uint8 crop ({SIZE}, {SIZE}, 3) of the aligner; got {image.dtype} {image.shape}."
            )
    encoded = io.BytesIO()
    # Fine enough that another encoding of the crop shows no blocks that the source did not have.
    Image.fromarray(image).save(encoded, "JPEG", quality=95, subsampling=0)
    encoded.seek(0)
    return encoded
