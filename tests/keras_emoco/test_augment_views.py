"""One view: its wiring, by views of one seed under different policies, and the distribution of its draws."""

import io
import itertools

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from keras_emoco import augment
from keras_emoco.augment import ops

OFF = {
    "jitter_probability": 0.0,
    "grayscale_probability": 0.0,
    "blur_probability": 0.0,
    "flip_probability": 0.0,
}


def picture(height, width, seed=0):
    """uint8 (height, width, 3), smooth, saturated, within 70 to 170: no adjustment alone leaves 0 to 255."""
    coarse = np.random.default_rng(seed).integers(70, 171, (4, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR))


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def pixel_units(views):
    return np.asarray(views) * (255 * np.float32(augment.STD)) + 255 * np.float32(augment.MEAN)


def views(pixels, count, image_size, **policy):
    """The views of the seeds (7, 0), (7, 1), ... in pixel units, (count, image_size, image_size, 3)."""
    policy = augment.Policy(**policy)
    dataset = tf.data.Dataset.range(count).map(
        lambda i: augment.random_view(tf.constant(pixels), tf.stack([7, i]), image_size, policy),
        num_parallel_calls=2,
    )
    return pixel_units(np.stack(list(dataset.as_numpy_iterator())))


def differs(one, other):
    return np.abs(one - other).max(axis=(1, 2, 3)) > 1e-3


def boxes(height, width, count, crop_scale=(0.2, 1.0)):
    """The (top, left, height, width) of random crops, read off views of a picture of coordinates."""
    rows, columns = np.mgrid[:height, :width]
    coordinates = np.stack([rows, columns, 0 * rows], axis=-1).astype(np.uint8)
    ramps = views(coordinates, count, 16, crop_scale=crop_scale, **OFF)
    # In the middle of the view, where the borders do not reach, a pixel is the coordinate at its centre.
    sides = (ramps[:, 12, 12, :2] - ramps[:, 4, 4, :2]) * 2
    return np.concatenate([ramps[:, 8, 8, :2] + 0.5 - sides * 8.5 / 16, sides], axis=1)


def test_each_operation_alone_is_the_operation_on_the_plain_view():
    pixels = picture(80, 70)
    plain = views(pixels, 6, 56, **OFF)

    grey = views(pixels, 6, 56, **OFF | {"grayscale_probability": 1.0})
    np.testing.assert_allclose(grey, [ops.rgb_to_grayscale(tf.constant(view)) for view in plain], atol=0.01)

    flipped = views(pixels, 6, 56, **OFF | {"flip_probability": 1.0})
    np.testing.assert_allclose(flipped, plain[:, :, ::-1], atol=0.01)

    # A sigma of 8 holds at 224 pixels: 2 at 56.
    blurred = views(pixels, 6, 56, blur_sigma=(8.0, 8.0), **OFF | {"blur_probability": 1.0})
    np.testing.assert_allclose(blurred, [ops.gaussian_blur(tf.constant(v), 2.0) for v in plain], atol=0.01)


def test_blur_and_flip_come_after_jitter_and_greyscale():
    # The blur does not commute with the adjustments' clipping: strong ones, on a picture of black and white.
    pixels = np.kron(np.random.default_rng(0).integers(0, 2, (12, 12, 3)), np.ones((6, 6, 1))) * 255
    jitter = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "jitter_probability": 1.0}
    jittered = views(pixels.astype(np.uint8), 6, 56, **OFF | jitter)
    grey = [ops.rgb_to_grayscale(tf.constant(view)) for view in jittered]
    expected = [ops.hflip(ops.gaussian_blur(view, 1.0)) for view in grey]
    rest = {
        "grayscale_probability": 1.0,
        "blur_probability": 1.0,
        "flip_probability": 1.0,
        "blur_sigma": (4, 4),
    }
    np.testing.assert_allclose(
        views(pixels.astype(np.uint8), 6, 56, **OFF | jitter | rest), expected, atol=0.01
    )


def test_jitter_applies_the_four_adjustments_in_random_order():
    """The factors are recovered from views with one adjustment; the whole must be one of their 24 orders."""
    pixels, count = picture(60, 60), 60
    zero = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    always = OFF | {"jitter_probability": 1.0}

    def single(name, strength):
        return views(pixels, count, 24, **always | zero | {name: strength})

    plain = views(pixels, count, 24, **OFF)
    np.testing.assert_array_equal(plain, views(pixels, count, 24, **always | zero))
    grey = np.stack([ops.rgb_to_grayscale(tf.constant(view)) for view in plain])
    mean = grey.mean(axis=(1, 2, 3), keepdims=True)

    def factor(adjusted, pivot):  # least squares of adjusted - pivot = factor * (plain - pivot)
        axes = (1, 2, 3)
        return np.sum((adjusted - pivot) * (plain - pivot), axis=axes) / np.sum(
            (plain - pivot) ** 2, axis=axes
        )

    def shift(adjusted):
        hue = np.stack([tf.image.rgb_to_hsv(stack / 255)[..., 0] for stack in (plain, adjusted)])
        return np.median((hue[1] - hue[0] + 0.5) % 1 - 0.5, axis=(1, 2))

    parameters = {
        ops.adjust_brightness: factor(single("brightness", 0.4), 0.0),
        ops.adjust_contrast: factor(single("contrast", 0.4), mean),
        ops.adjust_saturation: factor(single("saturation", 0.4), grey),
        ops.adjust_hue: shift(single("hue", 0.1)),
    }
    for adjust, values in parameters.items():
        low, high = (-0.1, 0.1) if adjust is ops.adjust_hue else (0.6, 1.4)
        span = high - low
        assert low - 1e-3 <= values.min() < low + span / 8, adjust
        assert high - span / 8 < values.max() <= high + 1e-3, adjust
        assert abs(values.mean() - (low + high) / 2) < span / 8, adjust
    correlations = np.corrcoef(list(parameters.values())) - np.eye(4)
    assert np.abs(correlations).max() < 0.4

    jittered, orders = views(pixels, count, 24, **always), set()
    for i, view in enumerate(jittered):
        errors = {}
        for order in itertools.permutations(parameters):
            image = tf.constant(plain[i], tf.float32)
            for adjust in order:
                image = adjust(image, tf.constant(parameters[adjust][i], tf.float32))
            errors[order] = np.abs(image - view).max()
        best = min(errors, key=errors.get)
        assert errors[best] < 0.5
        orders.add(tuple(adjust.__name__ for adjust in best))
    # Of 24 orders 60 draws show 22 on average; some orders give the same picture.
    assert len(orders) >= 12
    assert {order[0] for order in orders} == {adjust.__name__ for adjust in parameters}


def test_probabilities_are_those_of_moco_v2():
    pixels, count = picture(32, 32), 600
    plain = views(pixels, count, 16, **OFF)
    default = augment.MOCO_V2
    for name, expected in (("jitter", 0.8), ("grayscale", 0.2), ("blur", 0.5), ("flip", 0.5)):
        probability = {f"{name}_probability": getattr(default, f"{name}_probability")}
        # At 16 pixels the default sigma would change nothing.
        changed = differs(views(pixels, count, 16, blur_sigma=(20, 20), **OFF | probability), plain)
        assert abs(changed.mean() - expected) < 3.5 * np.sqrt(expected * (1 - expected) / count), name


def test_decisions_depend_neither_on_each_other_nor_on_the_strengths():
    pixels, count = picture(32, 32), 300
    plain = views(pixels, count, 16, **OFF)
    zero = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}

    def decided(name, **policy):
        return differs(views(pixels, count, 16, **OFF | policy | {f"{name}_probability": 0.5}), plain)

    decisions = [decided(name, blur_sigma=(20, 20)) for name in ("jitter", "grayscale", "blur", "flip")]
    assert np.abs(np.corrcoef(decisions) - np.eye(4)).max() < 0.2

    strengths = {
        "brightness": lambda view: view.mean(axis=(1, 2, 3)),
        "contrast": lambda view: view.mean(axis=3).std(axis=(1, 2)),
        "saturation": lambda view: view.std(axis=3).mean(axis=(1, 2)),
        "hue": lambda view: view[..., 0].mean(axis=(1, 2)) - view[..., 1].mean(axis=(1, 2)),
    }
    for name, strength in strengths.items():
        policy = OFF | zero | {name: 0.4 if name != "hue" else 0.1}
        always = strength(views(pixels, count, 16, **policy | {"jitter_probability": 1.0})) / strength(plain)
        assert abs(np.corrcoef(always.clip(0, 3), decisions[0])[0, 1]) < 0.2, name
    blurred = views(pixels, count, 16, **OFF | {"blur_probability": 1.0, "blur_sigma": (5, 40)})
    remaining = blurred.std(axis=(1, 2, 3)) / plain.std(axis=(1, 2, 3))
    assert abs(np.corrcoef(remaining, decisions[2])[0, 1]) < 0.2


def test_sigma_is_uniform_and_scales_with_the_view():
    # A blur multiplies a wave of frequency f by exp(-2 (pi sigma f)^2).
    frequency = 1 / 8
    wave = 127.5 + 100 * np.cos(2 * np.pi * frequency * np.arange(64))
    pixels = np.repeat(np.repeat(wave.round().astype(np.uint8)[None, :, None], 64, axis=0), 3, axis=2)
    policy = OFF | {"blur_probability": 1.0, "blur_sigma": (2.0, 7.0), "crop_scale": (1.0, 1.0)}
    row = views(pixels, 400, 64, **policy)[:, 32, 16:48]
    amplitude = (row.max(axis=(1, 2)) - row.min(axis=(1, 2))) / 2 / 100
    sigma = np.sqrt(-np.log(amplitude) / 2) / (np.pi * frequency) * 224 / 64
    np.testing.assert_allclose(np.quantile(sigma, [0, 0.25, 0.5, 0.75, 1]), [2, 3.25, 4.5, 5.75, 7], atol=0.3)
    assert augment.MOCO_V2.blur_sigma == (0.1, 2.0)


def test_crop_is_distributed_as_that_of_torchvision():
    """Kolmogorov-Smirnov against 2,000 draws of the published algorithm, written with NumPy."""
    stats = pytest.importorskip("scipy.stats")
    height, width = 200, 250  # coordinates fit 8 bits
    rng, expected = np.random.default_rng(0), []
    while len(expected) < 2000:
        area = height * width * rng.uniform(0.2, 1.0)
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        h, w = round(np.sqrt(area / ratio)), round(np.sqrt(area * ratio))
        if h <= height and w <= width:  # ten failures in a row do not occur at these sides
            expected.append((rng.integers(height - h + 1), rng.integers(width - w + 1), h, w))
    expected = np.array(expected)
    actual = boxes(height, width, 1000)
    assert np.abs(actual - actual.round()).max() < 0.3  # whole pixels, read off a view of 8-bit coordinates
    assert actual[:, :2].min() > -0.5
    assert np.all(actual[:, :2] + actual[:, 2:] < (height + 0.5, width + 0.5))

    def share(box):
        return box[:, 2] * box[:, 3] / (height * width)

    assert 0.19 < share(actual).min() < 0.22
    assert share(actual).max() > 0.9
    for statistic in (
        share,
        lambda box: box[:, 3] / box[:, 2],
        lambda box: box[:, 0] / (height - box[:, 2] + 1),
        lambda box: box[:, 1] / (width - box[:, 3] + 1),
    ):
        assert stats.ks_2samp(statistic(actual), statistic(expected)).pvalue > 0.01


@pytest.mark.parametrize(
    ("shape", "box"),
    # No crop of a fifth of the area fits: the whole shorter side, 4/3 or 3/4 of it, in the middle.
    [((24, 250), (0, 109, 24, 32)), ((250, 24), (109, 0, 32, 24))],
)
def test_crop_falls_back_on_the_centre(shape, box):
    np.testing.assert_allclose(boxes(*shape, 5), np.tile(box, (5, 1)), atol=0.1)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 90, 1), (90, 1, 3), (2, 3, 1)])
def test_smallest_pictures_give_finite_views(shape):
    view = views(np.full(shape, 200, np.uint8), 20, 8)
    assert np.isfinite(view).all()
    assert view.shape == (20, 8, 8, 3)


def test_crop_scale_limits_the_area():
    box = boxes(200, 200, 200, crop_scale=(0.5, 0.6))
    share = box[:, 2] * box[:, 3] / 200**2
    assert 0.49 < share.min() < 0.52
    assert 0.58 < share.max() < 0.61


def test_bytes_and_pixels_give_the_same_view_in_and_out_of_graphs():
    pixels = picture(90, 120)
    source = jpeg(pixels)
    decoded = tf.io.decode_jpeg(source, dct_method="INTEGER_ACCURATE")
    in_graph = tf.function(lambda image, seed: augment.random_view(image, seed, 32))
    for seed in ((1, 2), (3, -4), (2**40, 5)):
        seed = tf.constant(seed, tf.int64)
        expected = augment.random_view(decoded, seed, 32)
        assert expected.dtype == tf.float32
        assert expected.shape == (32, 32, 3)
        for image in (tf.constant(source), decoded):
            np.testing.assert_allclose(augment.random_view(image, seed, 32), expected, atol=1e-4)
            np.testing.assert_allclose(in_graph(image, seed), expected, atol=1e-4)
    assert in_graph(tf.constant(source), seed).shape == (32, 32, 3)
    spec = tf.TensorSpec((None, None, None), tf.uint8)
    unknown_shape = tf.function(lambda image: augment.random_view(image, seed, 32), input_signature=[spec])
    np.testing.assert_allclose(unknown_shape(decoded), expected, atol=1e-4)


def test_seed_alone_decides():
    pixels = picture(90, 120)
    first = views(pixels, 8, 16)
    np.testing.assert_array_equal(first, views(pixels, 8, 16))
    assert len({view.tobytes() for view in first}) == 8


def test_grey_pictures_stay_grey():
    grey = picture(48, 48)[..., 0]
    view = views(jpeg(grey), 40, 32)
    np.testing.assert_allclose(view[..., 0], view[..., 1], atol=0.02)
    np.testing.assert_allclose(view[..., 0], view[..., 2], atol=0.02)
    assert view.min() > -0.01
    assert view.max() < 255.01
    assert len({image.tobytes() for image in view}) == 40


def test_center_view_takes_224_of_256():
    pixels = picture(300, 400)
    expected = augment.normalize(ops.resize_and_center_crop(tf.constant(pixels), 256, 224))
    np.testing.assert_array_equal(augment.center_view(tf.constant(pixels), 224), expected)
    # 48 of round(54.86) = 55, and of what is given.
    expected = augment.normalize(ops.resize_and_center_crop(tf.constant(pixels), 55, 48))
    np.testing.assert_array_equal(augment.center_view(tf.constant(pixels), 48), expected)
    expected = augment.normalize(ops.resize_and_center_crop(tf.constant(pixels), 48, 48))
    np.testing.assert_array_equal(augment.center_view(tf.constant(pixels), 48, resize_to=48), expected)
    whole = augment.center_view(tf.constant(pixels), 48, crop=False)
    np.testing.assert_array_equal(whole, augment.normalize(ops.resize(tf.constant(pixels), 48)))
    source = jpeg(pixels)
    decoded = tf.io.decode_jpeg(source, dct_method="INTEGER_ACCURATE")
    np.testing.assert_array_equal(augment.center_view(source, 48), augment.center_view(decoded, 48))


def test_imagenet_constants():
    assert augment.MEAN == (0.485, 0.456, 0.406)
    assert augment.STD == (0.229, 0.224, 0.225)
    grey = augment.normalize(tf.fill((2, 2, 3), 255.0))
    np.testing.assert_allclose(grey[0, 0], [2.2489, 2.4286, 2.64], atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [
        {"jitter_probability": 1.1},
        {"flip_probability": -0.1},
        {"brightness": -0.4},
        {"hue": 0.6},
        {"crop_scale": (0.0, 1.0)},
        {"crop_scale": (0.9, 0.2)},
        {"crop_scale": (0.2, 1.5)},
        {"blur_sigma": (0.0, 2.0)},
        {"blur_sigma": (0.1, 75.0)},
    ],
)
def test_policy_refuses_values_out_of_range(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name}: expected .*; got ") as error:
        augment.Policy(**wrong)
    assert str(value) in str(error.value)


def test_wrong_images_and_sizes_are_refused():
    pixels = tf.zeros((8, 8, 3), tf.uint8)
    for make in (
        lambda image: augment.random_view(image, (1, 2), 8),
        lambda image: augment.center_view(image, 8),
    ):
        with pytest.raises(TypeError, match=r"encoded bytes .* or uint8 pixels, 0 to 255; got"):
            make(tf.zeros((8, 8, 3)))
        with pytest.raises(ValueError, match="map before batching"):
            make(tf.zeros((2, 8, 8, 3), tf.uint8))
        with pytest.raises(ValueError, match="1 or 3"):
            make(tf.zeros((8, 8, 4), tf.uint8))
        with pytest.raises(ValueError, match="one encoded image"):
            make(tf.constant(["a", "b"]))
        with pytest.raises(tf.errors.InvalidArgumentError, match="at least 1 x 1 pixels"):
            make(tf.zeros((0, 8, 3), tf.uint8))
    with pytest.raises(ValueError, match="image_size: expected an integer of at least 2; got 1"):
        augment.random_view(pixels, (1, 2), 1)
    with pytest.raises(ValueError, match="image_size"):
        augment.center_view(pixels, 0)
    with pytest.raises(ValueError, match="resize_to: expected an integer of at least 8; got 7"):
        augment.center_view(pixels, 8, resize_to=7)
    with pytest.raises(ValueError, match="resize_to=9 has no meaning with crop=False"):
        augment.center_view(pixels, 8, resize_to=9, crop=False)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda source: source[:-300], "end marker .FF D9.; got[^;]*bytes without one[^;]*copy it again"),
        (lambda source: b"", "JPEG, PNG, GIF or BMP file; got[^;]*remove the example"),
        (lambda source: b"<html>404", "begin with[^;]*<html>40[^;]*remove the example"),
        (lambda source: b"RIFF....WEBP", "begin with[^;]*RIFF[^;]*convert the file"),
    ],
)
def test_undecodable_bytes_are_named(damage, message):
    source = jpeg(picture(64, 64))
    augment.random_view(source + b"trailing bytes", (1, 2), 8)
    # Whatever the crop, though a part of the file would do for it.
    for seed in range(10):
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){message}"):
            augment.random_view(damage(source), (1, seed), 8)
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s){message}"):
        augment.center_view(damage(source), 8)
