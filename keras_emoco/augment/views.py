"""One picture to one view: the random view of MoCo v2 and the fixed central view for evaluation.

A random view is a function of its seed alone. Streams of examples are the matter of `pipeline`.
"""

import dataclasses
import functools
import math

import tensorflow as tf

from keras_emoco.augment import decoding, ops, stream

_RATIO = (3 / 4, 4 / 3)  # aspect ratios (width / height) of the random crop
_TRIES = 10
_REFERENCE_SIZE = 224  # the image size for which blur_sigma is given


@dataclasses.dataclass(frozen=True)
class Policy:
    """How strongly a random view is changed; the defaults are MoCo v2's (arXiv:2003.04297 and its code).

    Attributes:
        crop_scale: Least and greatest area of the random crop, as a share of the picture's.
        brightness: Factors are drawn from 1 - brightness (at least 0) to 1 + brightness.
        contrast: Likewise.
        saturation: Likewise.
        hue: Shifts are drawn from -hue to hue, in full circles; at most 0.5.
        jitter_probability: Probability of these four together; they come in random order.
        grayscale_probability: Probability of the greyscale.
        blur_probability: Probability of the Gaussian blur.
        blur_sigma: Least and greatest sigma of the blur in pixels of a 224 pixel view; at other sizes it is
            scaled with the view.
        flip_probability: Probability of the horizontal flip.

    Raises:
        ValueError: a value lies outside its range.
    """

    crop_scale: tuple[float, float] = (0.2, 1.0)
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    jitter_probability: float = 0.8
    grayscale_probability: float = 0.2
    blur_probability: float = 0.5
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    flip_probability: float = 0.5

    def __post_init__(self):
        for name in ("jitter", "grayscale", "blur", "flip"):
            self._require(f"{name}_probability", "a number in [0, 1]", lambda p: 0 <= p <= 1)
        for name in ("brightness", "contrast", "saturation"):
            self._require(name, "a number of at least 0", lambda strength: 0 <= strength < math.inf)
        self._require("hue", "a number in [0, 0.5]", lambda hue: 0 <= hue <= 0.5)
        self._require(
            "crop_scale", "(low, high), 0 < low <= high <= 1", lambda s: 0 < s[0] <= s[1] <= 1 and len(s) == 2
        )
        # The blur reaches 3 sigma, which must stay inside the picture.
        self._require(
            "blur_sigma",
            "(low, high), 0 < low <= high <= 70",
            lambda s: 0 < s[0] <= s[1] <= 70 and len(s) == 2,
        )

    def _require(self, name, expected, is_valid):
        value = getattr(self, name)
        try:
            valid = is_valid(value)
        except (TypeError, IndexError):  # No number, or no pair.
            valid = False
        if not valid:
            raise ValueError(f"{name}: expected {expected}; got {value}")


MOCO_V2 = Policy()


def random_view(image: tf.Tensor, seed: tf.Tensor, image_size: int, policy: Policy = MOCO_V2) -> tf.Tensor:
    """Makes one random view: crop, colour jitter, greyscale, blur, flip, normalisation, in this order.

    Args:
        image: Scalar string, the bytes of a JPEG, PNG, GIF or BMP file; or uint8 (height, width, 1 or 3). Of
            a JPEG only the crop is decoded.
        seed: Integer (2,). The view is a function of image, seed, size and policy alone.
        image_size: Height and width of the view in pixels, at least 2.
        policy: Strengths and probabilities.

    Returns:
        float32 (image_size, image_size, 3), normalised by ImageNet's mean and standard deviation.

    Raises:
        TypeError: `image` is neither a string nor uint8.
        ValueError: wrong shape of `image`, or `image_size` below 2.
        tf.errors.InvalidArgumentError: on execution, the bytes are no picture or the picture has no pixels.
    """
    _check_size(image_size)
    # One call for all numbers of a view: at small sizes the count of operations is what takes the time.
    draws = tf.random.stateless_uniform([4 * _TRIES + 13], seed, alg="philox")
    crop_draws, jitter_draws, order_draws, draws = tf.split(draws, [4 * _TRIES, 5, 4, 4])
    use_grayscale, use_blur, sigma, use_flip = tf.unstack(draws)

    random_box = functools.partial(_random_box, tf.reshape(crop_draws, [4, _TRIES]), policy.crop_scale)
    view = ops.resize(decoding.crop(tf.convert_to_tensor(image), random_box), image_size)
    view = _with_probability(
        policy.jitter_probability,
        jitter_draws[4],
        lambda view: _color_jitter(view, jitter_draws[:4], order_draws, policy),
        view,
    )
    view = _with_probability(policy.grayscale_probability, use_grayscale, ops.rgb_to_grayscale, view)
    sigma = _between(*policy.blur_sigma, sigma) * (image_size / _REFERENCE_SIZE)
    view = _with_probability(
        policy.blur_probability, use_blur, lambda view: ops.gaussian_blur(view, sigma), view
    )
    view = _with_probability(policy.flip_probability, use_flip, ops.hflip, view)
    return tf.ensure_shape(ops.normalize(view), (image_size, image_size, 3))


def center_view(
    image: tf.Tensor, image_size: int, resize_to: int | None = None, crop: bool = True
) -> tf.Tensor:
    """Makes the fixed view for evaluation: resized, its central square cut out, normalised.

    Args:
        image: As for `random_view`.
        image_size: Height and width of the view in pixels, at least 2.
        resize_to: Length of the picture's shorter side before the square is cut out; by default
            image_size * 256 / 224, the paper's 224 out of 256.
        crop: False to take the whole picture, resized to the square (its aspect ratio is then not kept).

    Returns:
        float32 (image_size, image_size, 3), normalised by ImageNet's mean and standard deviation.

    Raises:
        TypeError: `image` is neither a string nor uint8.
        ValueError: wrong shape of `image`, `image_size` below 2, `resize_to` below `image_size` or given
            though `crop` is False.
        tf.errors.InvalidArgumentError: on execution, the bytes are no picture or the picture has no pixels.
    """
    _check_size(image_size)
    if resize_to is not None:
        stream.check_whole(resize_to=(resize_to, image_size))
    pixels = decoding.decode(tf.convert_to_tensor(image))
    if not crop:
        if resize_to is not None:
            raise ValueError(f"resize_to={resize_to} has no meaning with crop=False: leave one of them out")
        return ops.normalize(ops.resize(pixels, image_size))
    resize_to = round(image_size * 256 / 224) if resize_to is None else resize_to
    return ops.normalize(ops.resize_and_center_crop(pixels, resize_to, image_size))


def _check_size(image_size):
    stream.check_whole(image_size=(image_size, 2))


def _with_probability(probability, draw, operation, image):
    # tf.cond runs only the branch taken; a probability of zero leaves nothing in the graph.
    if probability == 0:
        return image
    return tf.cond(draw < probability, lambda: operation(image), lambda: image)


def _between(low, high, draw):
    return low + (high - low) * draw


def _random_box(draws, scale, height, width):
    """The crop of torchvision's RandomResizedCrop: the first of ten boxes that fits, else the central one.

    Args:
        draws: Uniform numbers in [0, 1), (4, tries): area, aspect ratio, top, left.
        scale: Least and greatest share of the area.
        height: Height of the picture, int32 scalar.
        width: Width of the picture, int32 scalar.

    Returns:
        int32 `[top, left, height, width]`, each side at least 1.
    """
    sides = tf.stack([height, width])
    picture = tf.cast(sides, tf.float32)
    area = picture[0] * picture[1] * _between(*scale, draws[0])
    ratio = tf.exp(_between(math.log(_RATIO[0]), math.log(_RATIO[1]), draws[1]))
    boxes = tf.round(tf.sqrt(tf.stack([area / ratio, area * ratio], axis=1)))  # (tries, 2): height, width
    fits = tf.reduce_all((boxes > 0) & (boxes <= picture), axis=1)
    first = tf.argmax(fits)  # the first True
    corner = tf.floor(draws[2:, first] * (picture - boxes[first] + 1))

    # The whole picture, its longer side cut down to the nearest allowed ratio.
    central = tf.minimum(picture, tf.round(picture[::-1] * [1 / _RATIO[0], _RATIO[1]]))
    central_corner = tf.floor((picture - central) / 2)

    random_box = tf.concat([corner, boxes[first]], axis=0)
    central_box = tf.concat([central_corner, central], axis=0)
    return tf.cast(tf.where(fits[first], random_box, central_box), tf.int32)


def _color_jitter(image, draws, order_draws, policy):
    """ColorJitter of torchvision: the four adjustments in random order; those of strength zero are left out.

    Args:
        image: float32 (height, width, 3) in pixel units.
        draws: Uniform numbers in [0, 1), (4,): brightness, contrast, saturation, hue.
        order_draws: Uniform numbers in [0, 1), (4,); their ranks are the order.
        policy: The strengths.
    """
    adjustments = []
    for adjust, strength, draw in zip(
        (ops.adjust_brightness, ops.adjust_contrast, ops.adjust_saturation),
        (policy.brightness, policy.contrast, policy.saturation),
        tf.unstack(draws[:3]),
        strict=True,
    ):
        if strength > 0:
            factor = _between(max(0.0, 1.0 - strength), 1.0 + strength, draw)
            adjustments.append(functools.partial(adjust, factor=factor))
    if policy.hue > 0:
        adjustments.append(
            functools.partial(ops.adjust_hue, shift=_between(-policy.hue, policy.hue, draws[3]))
        )

    order = tf.argsort(order_draws[: len(adjustments)])
    for position in range(len(adjustments)):
        branches = [functools.partial(adjust, image) for adjust in adjustments]
        image = tf.switch_case(order[position], branches)
    return image
