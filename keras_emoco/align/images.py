"""Reading the pictures that people have, of any common format and colour mode, as upright 8-bit RGB.

Not for the input pipeline of training, which decodes with TensorFlow (`keras_emoco.augment`).
"""

import io
import os
import struct

import numpy as np
from PIL import Image

_ORIENTATION = 0x0112
# What turns a picture upright, by the value of the EXIF tag Orientation; 1 is upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(source: str | os.PathLike | bytes) -> np.ndarray:
    """Reads a picture as upright RGB.

    Grey, palette, 1-bit and CMYK pictures become RGB; 16-bit grey is divided by 257, so that the whole range
    stays; transparent pixels become black, as the border of a crop; of an animation the first frame is read.

    Args:
        source: a file, or the bytes of one.

    Returns:
        uint8 `(height, width, 3)`, turned as the EXIF orientation says.

    Raises:
        OSError: the file cannot be opened.
        ValueError: the bytes are no picture, damaged or cut off, of a pixel type without a defined range, or
            of more than twice `PIL.Image.MAX_IMAGE_PIXELS` pixels (a decompression bomb).
    """
    if isinstance(source, bytes):
        name, data = "<bytes>", source
    else:
        name = os.fspath(source)
        with open(source, "rb") as file:
            data = file.read()
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except Image.UnidentifiedImageError:
        raise ValueError(
            f"cannot read {name}: expected a picture; got {len(data)} bytes that begin with {data[:8]!r}: "
            "copy or convert it again, or remove it"
        ) from None
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"cannot read {name}: {error} Shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it"
        ) from error
    except MemoryError:
        raise
    # Damage makes Pillow's readers raise nearly anything (OSError, SyntaxError, struct.error, ...).
    except Exception as error:
        raise ValueError(f"cannot read {name}: {error}: copy it again or remove it") from error
    orientation = _orientation(image)
    rgb = _to_rgb(image, name)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    return np.array(rgb)


def _orientation(image):
    try:
        return image.getexif().get(_ORIENTATION)
    # Viewers show a picture with damaged EXIF as it lies, and so does this.
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, struct.error):
        return None


def _to_rgb(image, name):
    if image.mode.startswith("I"):
        levels = np.asarray(image)
        # Older 16-bit files are opened as 32-bit integers.
        if levels.min() < 0 or levels.max() > 65535:
            raise ValueError(
                f"cannot read {name}: expected grey levels of at most 16 bits; got {levels.min()} to "
                f"{levels.max()}: convert it to 8 bits"
            )
        # 65535 / 257 is 255; half of 257 rounds.
        image = Image.fromarray(((levels.astype(np.int64) + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError(f"cannot read {name}: floats have no defined black and white: convert it to 8 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise ValueError(
            f"cannot read {name}: no way from colour mode {image.mode} to RGB: convert it"
        ) from error
