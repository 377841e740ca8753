"""Each operation against torchvision's functional, or PIL, on the same picture and parameters.

Colour, blur and normalisation are compared with torchvision's tensor functional on float pixels, which does
not round; colour and resizing also with its functional on PIL images, which rounds to 8 bits.
"""

import importlib.util
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFilter

from keras_emoco import augment
from keras_emoco.augment import decoding, ops


@pytest.fixture(scope="module")
def functional():
    """torchvision.transforms.functional, also where torchvision's compiled operators do not load."""
    peers = pytest.importorskip("trainers.benchmark.peers")
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    peers.torchvision()
    import torchvision.transforms.functional as functional

    return functional


def picture(height, width, seed=0):
    """uint8 (height, width, 3): smooth shading, edges and grain, with black and white in it."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(float)
    pixels[height // 3 : height // 2, width // 4 : width // 2] = (250, 30, 60)
    pixels[: height // 8] = 255
    pixels[-height // 8 :] = 0
    return np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)


def encoded(pixels, image_format, **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, image_format, **options)
    return file.getvalue()


def as_torch(pixels):
    import torch

    return torch.tensor(pixels, dtype=torch.float32).permute(2, 0, 1) / 255


def from_torch(image):
    return image.permute(1, 2, 0).numpy() * 255


# The tensor functional takes 0.2989 as the luma of red, PIL and `ops` 0.299: up to 0.03 of a level.
@pytest.mark.parametrize(
    ("name", "values", "tolerance"),
    [
        ("adjust_brightness", (0.0, 0.6, 1.0, 1.4), 0.001),
        ("adjust_contrast", (0.0, 0.6, 1.0, 1.4), 0.04),
        ("adjust_saturation", (0.0, 0.6, 1.0, 1.4), 0.04),
        ("adjust_hue", (-0.5, -0.1, 0.0, 0.03, 0.1, 0.5), 0.01),
    ],
)
def test_colour_adjustments_are_those_of_torchvision(functional, name, values, tolerance):
    pixels = picture(60, 45)
    for value in values:
        expected = from_torch(getattr(functional, name)(as_torch(pixels), value))
        actual = getattr(ops, name)(tf.constant(pixels, tf.float32), tf.constant(value))
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance, err_msg=f"{name}({value})")


@pytest.mark.parametrize(
    ("name", "value", "tolerance"),
    # PIL rounds down after each step, and twice with a mean or greyscale of 8 bits.
    [("adjust_brightness", 1.3, 1.1), ("adjust_contrast", 0.7, 1.6), ("adjust_saturation", 1.4, 2.1)],
)
def test_colour_adjustments_are_those_of_pil_but_for_rounding(functional, name, value, tolerance):
    pixels = picture(60, 45)
    expected = np.asarray(getattr(functional, name)(Image.fromarray(pixels), value))
    actual = getattr(ops, name)(tf.constant(pixels, tf.float32), tf.constant(value))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def test_grayscale_is_that_of_pil(functional):
    pixels = picture(60, 45)
    expected = np.asarray(functional.to_grayscale(Image.fromarray(pixels), num_output_channels=3))
    np.testing.assert_allclose(
        ops.rgb_to_grayscale(tf.constant(pixels, tf.float32)), expected, rtol=0, atol=0.51
    )


@pytest.mark.parametrize("sigma", [0.03, 0.3, 0.35, 1.0, 2.0])
def test_gaussian_blur_is_that_of_torchvision(functional, sigma):
    pixels = picture(60, 45)
    taps = 2 * int(np.ceil(3 * sigma)) + 1
    expected = from_torch(functional.gaussian_blur(as_torch(pixels), [taps, taps], [sigma, sigma]))
    actual = ops.gaussian_blur(tf.constant(pixels, tf.float32), tf.constant(sigma))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=0.01)


# Below a sigma of 1 the box filters are no longer near the Gaussian.
@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0])
def test_gaussian_blur_is_near_the_box_filters_of_pil(sigma):
    pixels = picture(60, 45)
    expected = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(sigma))).astype(float)
    actual = ops.gaussian_blur(tf.constant(pixels, tf.float32), tf.constant(sigma)).numpy()
    # PIL repeats the border where torchvision reflects it.
    difference = np.abs(actual - expected)[8:-8, 8:-8]
    change = np.abs(expected - pixels)[8:-8, 8:-8]
    assert difference.mean() < 0.1 * change.mean()


def test_hflip_and_normalize_are_those_of_torchvision(functional):
    pixels = picture(60, 45)
    np.testing.assert_array_equal(
        ops.hflip(tf.constant(pixels)), np.asarray(functional.hflip(Image.fromarray(pixels)))
    )
    expected = functional.normalize(as_torch(pixels), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = expected.permute(1, 2, 0).numpy()
    np.testing.assert_allclose(augment.normalize(tf.constant(pixels)), expected, atol=1e-5)
    batch = augment.normalize(tf.constant(pixels[None], tf.float32))
    np.testing.assert_allclose(batch, expected[None], atol=1e-5)


# Both sides shrink, both grow, one of each, and neither.
@pytest.mark.parametrize(("height", "width"), [(150, 100), (33, 20), (90, 30), (40, 130), (48, 48), (1, 1)])
def test_resize_is_the_antialiased_bilinear_of_pil(functional, height, width):
    pixels = picture(150, 130)[:height, :width]
    expected = np.asarray(functional.resized_crop(Image.fromarray(pixels), 0, 0, height, width, (48, 48)))
    # PIL rounds twice, after the rows and after the columns.
    np.testing.assert_allclose(ops.resize(tf.constant(pixels), 48), expected, rtol=0, atol=1.01)


@pytest.mark.parametrize(("height", "width"), [(100, 100), (150, 101), (60, 99), (30, 41), (55, 55)])
def test_resize_and_center_crop_is_that_of_torchvision(functional, height, width):
    pixels = picture(height, width)
    resized = functional.resize(Image.fromarray(pixels), 55)
    expected = np.asarray(functional.center_crop(resized, 48))
    actual = ops.resize_and_center_crop(tf.constant(pixels), 55, 48)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1.01)


def test_all_forms_of_a_picture_decode_to_the_same_pixels():
    pixels = picture(40, 30)
    for source in (tf.constant(pixels), *(encoded(pixels, name) for name in ("PNG", "BMP"))):
        np.testing.assert_array_equal(decoding.decode(tf.convert_to_tensor(source)), pixels)
    grey = pixels[..., :1]
    for source in (tf.constant(grey), encoded(grey[..., 0], "PNG")):
        np.testing.assert_array_equal(
            decoding.decode(tf.convert_to_tensor(source)), np.repeat(grey, 3, axis=2)
        )


# 0: colour at full resolution; 2: at half of it in both directions.
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_decoded_to_the_pixels_of_pil(channels, subsampling):
    pixels = picture(75, 90) if channels == 3 else picture(75, 90)[..., 0]
    jpeg = encoded(pixels, "JPEG", quality=95, subsampling=subsampling)
    expected = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB")).astype(int)
    # The same libjpeg transform on both sides: one level of difference would be another version's rounding.
    assert np.abs(decoding.decode(tf.constant(jpeg)).numpy() - expected).max() <= 1


# 0: colour at full resolution; 2: at half of it in both directions.
@pytest.mark.parametrize("subsampling", [0, 2])
@pytest.mark.parametrize("box", [(0, 0, 75, 90), (10, 17, 40, 33), (33, 1, 42, 89), (74, 89, 1, 1)])
def test_crop_of_a_jpeg_is_the_crop_of_the_decoded_picture(subsampling, box):
    jpeg = tf.constant(encoded(picture(75, 90), "JPEG", quality=90, subsampling=subsampling))
    top, left, height, width = box

    def check(picture_height, picture_width):
        assert (picture_height, picture_width) == (75, 90)
        return tf.constant(box)

    whole = decoding.decode(jpeg).numpy().astype(int)
    difference = decoding.crop(jpeg, check).numpy() - whole[top : top + height, left : left + width]
    assert difference.shape == (height, width, 3)
    if subsampling == 0:
        np.testing.assert_array_equal(difference, 0)
    else:  # colour at the border is interpolated from inside the box alone
        np.testing.assert_array_equal(difference[1:-1, 1:-1], 0)
        assert np.abs(difference).max() < 16
