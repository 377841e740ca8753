"""From encoded bytes or uint8 arrays to RGB pixels, whole or one box of them.

Not a reader of files; errors name the position of the example where the caller knows it.
"""

from collections.abc import Callable

import tensorflow as tf

_END_OF_JPEG = b"\xff\xd9"
_DCT = "INTEGER_ACCURATE"  # as PIL and OpenCV; TensorFlow's default is off by ten levels at high quality


def decode(image: tf.Tensor, index: tf.Tensor | None = None) -> tf.Tensor:
    """Decodes a picture to RGB.

    Args:
        image: Scalar string, the bytes of a JPEG, PNG, GIF (its first frame) or BMP file; or uint8
            (height, width, 1 or 3).
        index: Integer scalar, named in the error when the bytes are no picture.

    Returns:
        uint8 (height, width, 3); a grey picture has its channel three times.

    Raises:
        TypeError: `image` is neither a scalar string nor uint8.
        ValueError: a uint8 `image` is not (height, width, 1 or 3).
        tf.errors.InvalidArgumentError: on execution, the bytes are of another format, damaged or cut off, or
            the picture has no pixels.
    """
    if not is_encoded(image):
        with tf.control_dependencies([_assert_not_empty(image)]):
            return _to_rgb(tf.identity(image))
    with tf.control_dependencies([_assert_readable(image, index)]):
        # decode_image would take a JPEG too, but not the choice of its transform.
        pixels = tf.cond(
            tf.io.is_jpeg(image),
            lambda: tf.io.decode_jpeg(image, channels=3, dct_method=_DCT),
            lambda: tf.io.decode_image(image, channels=3, expand_animations=False),
        )
    return tf.ensure_shape(pixels, (None, None, 3))


def crop(image: tf.Tensor, box: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Cuts a box out of a picture; of a JPEG only the box is decoded.

    Args:
        image: As for `decode`.
        box: Function of the picture's (height, width), int32 scalars, that gives the box as int32
            `[top, left, height, width]`.

    Returns:
        uint8 (height of the box, width of the box, 3).

    Raises:
        TypeError, ValueError, tf.errors.InvalidArgumentError: as `decode`.
    """
    if not is_encoded(image):
        with tf.control_dependencies([_assert_not_empty(image)]):
            return _to_rgb(_slice(image, box))

    def crop_jpeg():
        height, width, _ = tf.unstack(tf.io.extract_jpeg_shape(image), num=3)
        return tf.image.decode_and_crop_jpeg(image, box(height, width), channels=3, dct_method=_DCT)

    with tf.control_dependencies([_assert_readable(image)]):
        pixels = tf.cond(tf.io.is_jpeg(image), crop_jpeg, lambda: _slice(decode(image), box))
    return tf.ensure_shape(pixels, (None, None, 3))


def is_encoded(image: tf.Tensor | tf.TensorSpec) -> bool:
    """Tells encoded bytes (a scalar string) from pixels (uint8), and refuses anything else; see `decode`."""
    if image.dtype == tf.string:
        if image.shape.rank not in (0, None):
            raise ValueError(
                f"expected one encoded image (a scalar string); got {image}: map before batching"
            )
        return True
    if image.dtype != tf.uint8:
        raise TypeError(
            f"expected an image of encoded bytes (tf.string) or uint8 pixels, 0 to 255; got {image}"
        )
    if image.shape.rank != 3 or image.shape[-1] not in (1, 3, None):
        raise ValueError(
            f"expected uint8 pixels of shape (height, width, 1 or 3); got {image}: map before batching"
        )
    return False


def _assert_readable(encoded, index=None):
    where = [] if index is None else ["at example", index]

    def begins_with(magic):
        return tf.strings.substr(encoded, 0, len(magic)) == magic

    known_format = tf.debugging.Assert(
        tf.reduce_any([begins_with(magic) for magic in (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM")]),
        [
            "cannot decode the image: expected the bytes of a JPEG, PNG, GIF or BMP file; got",
            tf.strings.length(encoded),
            "bytes that begin with",
            tf.strings.substr(encoded, 0, 8),
            *where,
            "- remove the example or convert the file",
        ],
    )
    with tf.control_dependencies([known_format]):
        encoded = tf.identity(encoded)
    # decode_jpeg refuses a file without end marker; decode_and_crop_jpeg only if the crop reaches the gap.
    complete = tf.cond(
        ~tf.io.is_jpeg(encoded) | (tf.strings.substr(encoded, -2, 2) == _END_OF_JPEG),
        lambda: True,
        lambda: tf.size(tf.strings.split(encoded, _END_OF_JPEG)) > 1,
    )
    return tf.debugging.Assert(
        complete,
        [
            "cannot decode the image: expected a JPEG file with an end marker (FF D9); got",
            tf.strings.length(encoded),
            "bytes without one",
            *where,
            "- the file is cut off: copy it again or remove the example",
        ],
    )


def _assert_not_empty(pixels):
    return tf.debugging.Assert(
        tf.size(pixels) > 0,
        [
            "cannot crop the image: expected at least 1 x 1 pixels; got shape",
            tf.shape(pixels),
            "- remove the example",
        ],
    )


def _slice(pixels, box):
    top, left, height, width = tf.unstack(box(tf.shape(pixels)[0], tf.shape(pixels)[1]), num=4)
    return pixels[top : top + height, left : left + width]


def _to_rgb(pixels):
    if pixels.shape[-1] == 3:
        return pixels
    return tf.broadcast_to(pixels, tf.concat([tf.shape(pixels)[:2], [3]], axis=0))
