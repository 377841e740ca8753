"""Image operations with given parameters: each one is torchvision's functional of the same name.

Images are float32 (height, width, 3) in pixel units, 0 to 255, not rounded between operations. Nothing
here is random: the draws are made in `views`.
"""

import tensorflow as tf

MEAN = (0.485, 0.456, 0.406)
"""Mean of ImageNet's red, green and blue, for pixels scaled to 0..1."""
STD = (0.229, 0.224, 0.225)
"""Standard deviation of ImageNet's red, green and blue, for pixels scaled to 0..1."""

_LUMA = (0.299, 0.587, 0.114)  # ITU-R 601-2, as PIL's mode "L"


def resize(image: tf.Tensor, size: int) -> tf.Tensor:
    """Resizes a whole picture to a square: bilinear, with antialiasing where it shrinks.

    This is PIL's `resize((size, size), BILINEAR)`, and so torchvision's `resize(..., antialias=True)`,
    without the rounding to 8 bits.

    Args:
        image: uint8 or float32 (height, width, 3).
        size: Height and width of the result in pixels.

    Returns:
        float32 (size, size, 3).
    """
    # Where neither side shrinks antialiasing changes nothing; the kernel without it is three times as fast.
    grows = tf.reduce_max(tf.shape(image)[:2]) <= size
    resized = tf.cond(
        grows,
        lambda: tf.image.resize(image, (size, size)),
        lambda: tf.image.resize(image, (size, size), antialias=True),
    )
    return tf.ensure_shape(resized, (size, size, 3))


def resize_and_center_crop(image: tf.Tensor, resize_to: int, size: int) -> tf.Tensor:
    """Resizes the shorter side to `resize_to`, keeping the aspect ratio, and cuts the central square out.

    This is torchvision's `center_crop(resize(image, resize_to, antialias=True), size)`; only the pixels
    inside the crop are computed.

    Args:
        image: uint8 or float32 (height, width, 3).
        resize_to: Length of the shorter side after resizing, in pixels.
        size: Height and width of the result in pixels, at most `resize_to`.

    Returns:
        float32 (size, size, 3).
    """
    sides = tf.shape(image)[:2]
    resized = resize_to * sides // tf.reduce_min(sides)
    corner = tf.round((resized - size) / 2)
    return tf.raw_ops.ScaleAndTranslate(
        images=image[None],
        size=(size, size),
        scale=tf.cast(resized / sides, tf.float32),
        translation=tf.cast(-corner, tf.float32),
        kernel_type="triangle",
        antialias=True,
    )[0]


def adjust_brightness(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies the pixels by `factor`; 0 gives black, 1 the picture itself."""
    return _clip(image * factor)


def adjust_contrast(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blends the picture with its greyscale's mean; a `factor` of 0 gives that grey, 1 the picture itself."""
    # Columns first, (height, width * 3) -> (width * 3,): sums over an innermost axis of three would be slow.
    columns = tf.reduce_mean(tf.reshape(image, [tf.shape(image)[0], -1]), axis=0)
    mean = tf.reduce_sum(tf.reduce_mean(tf.reshape(columns, [-1, 3]), axis=0) * _LUMA)
    return _clip(image * factor + (1.0 - factor) * mean)


def adjust_saturation(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blends the picture with its greyscale; a `factor` of 0 gives the greyscale, 1 the picture itself."""
    return _clip(_mix_channels(image, factor * tf.eye(3) + (1.0 - factor) * _grayscale_matrix()))


def adjust_hue(image: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Turns the hue by `shift` of a full circle, -0.5 to 0.5."""
    return tf.image.adjust_hue(image, shift)


def rgb_to_grayscale(image: tf.Tensor) -> tf.Tensor:
    """Replaces each channel by the luma (ITU-R 601-2); the picture keeps three channels."""
    return _mix_channels(image, _grayscale_matrix())


def gaussian_blur(image: tf.Tensor, sigma: tf.Tensor) -> tf.Tensor:
    """Convolves with a Gaussian cut at three sigma, borders reflected.

    The kernel has 2 ceil(3 sigma) + 1 taps, the reach of the three box filters by which PIL's `GaussianBlur`
    approximates the same Gaussian (13 taps at sigma 2).

    Args:
        image: float32 (height, width, 3).
        sigma: Positive float32 scalar, in pixels; 3 sigma must be less than either side.

    Returns:
        float32 (height, width, 3).
    """
    radius = tf.cast(tf.math.ceil(3.0 * sigma), tf.int32)
    taps = tf.cast(tf.range(-radius, radius + 1), tf.float32)
    kernel = tf.nn.softmax(-0.5 * tf.square(taps / sigma))
    height, width = tf.unstack(tf.shape(image)[:2], num=2)

    # Down the columns every (column, channel) counts as a channel: 3 * width of them fill the vector units.
    rows = tf.concat([image[radius:0:-1], image, image[-2 : -radius - 2 : -1]], axis=0)
    rows = _depthwise(tf.reshape(rows, [1, -1, 1, 3 * width]), kernel[:, None, None, None], 3 * width)
    rows = tf.reshape(rows, [height, width, 3])

    columns = tf.concat([rows[:, radius:0:-1], rows, rows[:, -2 : -radius - 2 : -1]], axis=1)
    return _depthwise(columns[None], kernel[None, :, None, None], 3)[0]


def hflip(image: tf.Tensor) -> tf.Tensor:
    """Mirrors left and right."""
    return tf.reverse(image, axis=[1])


def normalize(image: tf.Tensor) -> tf.Tensor:
    """Normalises pixels by ImageNet's `MEAN` and `STD`.

    Args:
        image: (..., width, 3) in pixel units, 0 to 255, uint8 or float32.

    Returns:
        float32 of the same shape, `(image / 255 - MEAN) / STD`.
    """
    # Whole rows of constants: broadcasting over an innermost axis of three would be ten times as slow.
    width = tf.shape(image)[-2]
    scale = tf.tile([[1.0 / (255.0 * std) for std in STD]], [width, 1])
    offset = tf.tile([[mean / std for mean, std in zip(MEAN, STD, strict=True)]], [width, 1])
    return tf.cast(image, tf.float32) * scale - offset


def _clip(image):
    return tf.clip_by_value(image, 0.0, 255.0)


def _grayscale_matrix():
    return tf.tile(tf.constant(_LUMA)[:, None], [1, 3])


def _mix_channels(image, matrix):
    return tf.reshape(tf.reshape(image, [-1, 3]) @ matrix, tf.shape(image))


def _depthwise(image, kernel, channels):
    return tf.nn.depthwise_conv2d(image, tf.tile(kernel, [1, 1, channels, 1]), [1, 1, 1, 1], "VALID")
