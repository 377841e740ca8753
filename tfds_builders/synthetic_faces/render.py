"""From the parameters of a face to its pixels: paint, light, folds, noise, JPEG."""

import functools
import io

import numpy as np
from PIL import Image, ImageDraw

from tfds_builders.synthetic_faces import surface
from tfds_builders.synthetic_faces.dice import Dice
from tfds_builders.synthetic_faces.faces import SEED, Face, Shot
from tfds_builders.synthetic_faces.paint import OVERSAMPLING, Brush, paint, ribbon
from tfds_builders.synthetic_faces.rig import PosedRig, pose
from tfds_builders.synthetic_faces.shapes import spline

IMAGE_SIZE = 128

_CANVAS = (IMAGE_SIZE * OVERSAMPLING, IMAGE_SIZE * OVERSAMPLING)
_GRID = np.arange(IMAGE_SIZE, dtype=np.float32) + 0.5
_NEUTRAL = 128  # grey level of the fold canvas that leaves the skin as it is


def render(face: Face) -> np.ndarray:
    """Draws a face.

    Returns:
        Array (128, 128, 3) uint8.
    """
    return _render(face, pose(face))


def encode(pixels: np.ndarray, quality: int) -> bytes:
    """JPEG file of an image (height, width, 3)."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "JPEG", quality=quality)
    return file.getvalue()


def _render(face: Face, rig: PosedRig) -> np.ndarray:
    shot = face.shot
    canvas = Image.new("RGBX", _CANVAS)
    paint(Brush(canvas), rig, face.identity, shot)
    # The fourth channel is coverage. Unpainted canvas is (0, 0, 0, 0), so the reduced image is premultiplied;
    # mode RGBA would have Pillow undo that.
    # Channels first from here on: NumPy is slow where the last axis is 3 long.
    planes = np.asarray(canvas.reduce(OVERSAMPLING)).transpose(2, 0, 1).astype(np.float32)
    tint = np.array(shot.tint, np.float32)[:, None, None] * np.float32(shot.exposure)
    folds = 1 + _FOLD_TINT * _folds(rig, face.identity.age, shot.scale)
    image = planes[:3] * tint * _light(rig, shot) * folds
    image += _background(shot) * (1 - planes[3] / 255)
    noise = Dice(SEED, face.subject + 1, face.index + 1, 1).noise(IMAGE_SIZE, IMAGE_SIZE)
    image += noise * np.float32(shot.noise)
    return np.clip(image + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)


# Blood makes furrows redder than their surroundings.
_FOLD_TINT = np.array([0.86, 1.0, 1.06], np.float32)[:, None, None]


def _light(rig: PosedRig, shot: Shot) -> np.ndarray:
    """Lambertian light on an ellipsoid with the relief of `surface.BUMPS`.

    Returns:
        Factors (128, 128), about 0.5 to 1.3.
    """
    heights = surface.BUMP_HEIGHTS + rig.strengths @ surface.BUMP_UNITS  # (2, bumps)
    heights = heights.reshape(-1).astype(np.float32)
    centre = rig.bumps.reshape(-1, 2).astype(np.float32)
    sigma = np.tile(surface.BUMP_SIGMAS, (2, 1)).astype(np.float32)
    # A Gaussian is the product of one in x and one in y: the sum over bumps is a matrix product, and so are
    # its slopes, with -(x - centre) / sigma^2 as the additional factor.
    dx = (_GRID[:, None] - centre[:, 0]) / np.float32(shot.scale)
    dy = (_GRID[:, None] - centre[:, 1]) / np.float32(shot.scale)
    # Beyond 6 sigma the exponential would run into denormal numbers, which are slow.
    gx = np.exp(-(np.minimum(np.abs(dx / sigma[:, 0]), 6) ** 2) / 2)
    gy = np.exp(-(np.minimum(np.abs(dy / sigma[:, 1]), 6) ** 2) / 2) * heights
    slope_x = _product(gy, gx * (-dx / sigma[:, 0] ** 2))
    slope_y = _product(gy * (-dy / sigma[:, 1] ** 2), gx)
    u = (_GRID - np.float32(shot.centre[0])) / np.float32(1.28 * shot.scale)
    v = (_GRID - np.float32(shot.centre[1])) / np.float32(1.8 * shot.scale)
    nx, ny = u[None] - slope_x, v[:, None] - slope_y
    nz = np.sqrt(np.maximum(1 - u[None] ** 2 - v[:, None] ** 2, 0.04))
    lx, ly = shot.light
    lz = 1.0
    towards = (nx * np.float32(lx) + ny * np.float32(ly) + nz * np.float32(lz)) / np.sqrt(
        (nx**2 + ny**2 + nz**2) * np.float32(lx**2 + ly**2 + lz**2)
    )
    return (1 - shot.contrast) + np.float32(shot.contrast * 1.15) * np.maximum(towards, 0)


def _product(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Product rows @ columns.T in blocks so small that BLAS stays on one thread; more would cost more."""
    blocks = rows.reshape(4, -1, rows.shape[1])
    return (blocks @ columns.T).reshape(len(rows), len(columns))


def _folds(rig: PosedRig, age: float, unit: float) -> np.ndarray:
    """Darkening (< 0) by furrows and lightening by the lit edge below each, (128, 128)."""
    strength = np.clip(surface.FOLD_AGES * age + rig.strengths @ surface.FOLD_UNITS, 0, 0.7)
    side, which = np.nonzero(strength > 0.03)
    strength = strength[side, which]
    curves = _fold_curve() @ rig.folds[side, which]
    shapes = ribbon(curves, surface.FOLD_WIDTHS[which] * unit * (0.6 + strength)) * OVERSAMPLING
    canvas = Image.new("L", _CANVAS, _NEUTRAL)
    draw = ImageDraw.Draw(canvas)
    lit = shapes + np.array([0, 0.026 * unit * OVERSAMPLING])
    for shape, value in zip(lit, strength, strict=True):
        draw.polygon(shape.ravel().tolist(), fill=int(_NEUTRAL * (1 + 0.3 * value)))
    for shape, value in zip(shapes, strength, strict=True):
        draw.polygon(shape.ravel().tolist(), fill=int(_NEUTRAL * (1 - value)))
    return np.asarray(canvas.reduce(OVERSAMPLING)).astype(np.float32) / _NEUTRAL - 1


@functools.cache
def _fold_curve() -> np.ndarray:
    return spline(4, 3)


def _background(shot: Shot) -> np.ndarray:
    grid = np.clip(np.array(shot.background).reshape(3, 3, 3), 0, 255).astype(np.uint8)
    pixels = Image.fromarray(grid).resize((IMAGE_SIZE, IMAGE_SIZE), Image.Resampling.BICUBIC)
    return np.asarray(pixels).transpose(2, 0, 1).astype(np.float32)
