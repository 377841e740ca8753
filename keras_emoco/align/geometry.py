"""From five facial landmarks to an aligned crop: the template, the similarity, the warp.

Not for finding landmarks (`Detector`) nor for reading files (`read_image`). All coordinates are x, y in
pixels with (0, 0) at the outer corner of the top left pixel, so that its centre is (0.5, 0.5).
"""

import math

import numpy as np
from PIL import Image

LANDMARKS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")  # left is left in the image

SIZE = 256  # pixels, section III.A of the paper

# The five points that InsightFace and ArcFace align to in a 112 x 112 crop, (38.2946, 51.6963),
# (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041), made symmetric about the
# middle so that the crop of a mirrored face is the mirrored crop; relative to the middle of the eyes.
_SHAPE = np.array([[-17.6186, 0.0], [17.6186, 0.0], [0.0, 20.1378], [-14.5903, 40.6860], [14.5903, 40.6860]])
# At twice that size (224) a chin would lie on the border. These two numbers leave raised brows and a dropped
# jaw inside the central 224 x 224 pixels.
_SCALE = 1.75
_EYES = (SIZE / 2, 94.0)

TEMPLATE = _SHAPE * _SCALE + _EYES
TEMPLATE.setflags(write=False)
# The nose moves with the head's pose and the mouth's corners with the expression that is to be seen in the
# crop. With equal weights both eyes come within 4 pixels of the template in 69% of real photographs, with
# these in 91%.
_WEIGHTS = np.array([4.0, 4.0, 1.0, 1.0, 1.0])


def similarity(
    source_points: np.ndarray, target_points: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """The rotation, uniform scale and shift that moves one set of points closest to another.

    Least squares without reflection: Umeyama (PAMI 1991), which in the plane has the closed form below.

    Args:
        source_points: `(n, 2)`, at least two of them distinct.
        target_points: `(n, 2)`, the points to come close to.
        weights: `(n,)`, positive, of the squared distances; None for equal ones.

    Returns:
        `(2, 3)` matrix `M`: `M[:, :2] @ point + M[:, 2]` lies in the target.

    Raises:
        ValueError: shapes differ, a coordinate is not finite, a weight not positive, or all source points
            coincide.
    """
    source, target = np.asarray(source_points, np.float64), np.asarray(target_points, np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2:
        raise ValueError(
            f"expected two arrays of points (n, 2) of the same n; got {source.shape} and {target.shape}"
        )
    if not (np.isfinite(source).all() and np.isfinite(target).all()):
        raise ValueError(f"expected finite coordinates; got {source.tolist()} and {target.tolist()}")
    weights = np.ones(len(source)) if weights is None else np.asarray(weights, np.float64)
    if weights.shape != (len(source),) or not (weights > 0).all():
        raise ValueError(f"expected {len(source)} positive weights; got {weights.tolist()}")
    # As complex numbers the similarity is z -> a z + b, which is a linear regression.
    source, target = source @ (1, 1j), target @ (1, 1j)
    source_mean, target_mean = np.average([source, target], axis=1, weights=weights)
    centred = source - source_mean
    spread = (weights * np.abs(centred) ** 2).sum()
    if not spread > 0:
        raise ValueError("expected at least two distinct source points; got the same one throughout")
    a = (weights * centred.conj() * (target - target_mean)).sum() / spread
    b = target_mean - a * source_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def crop(image: np.ndarray, landmarks: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Cuts the face out, turned, scaled and shifted so that its landmarks lie close to `TEMPLATE`.

    The distances of the eyes weigh four times those of nose and mouth. A shrunken face is averaged over the
    source pixels under each pixel of the crop, not sampled. What lies outside the image is black.

    Args:
        image: uint8 `(height, width, 3)`.
        landmarks: `(5, 2)` in the order of `LANDMARKS`.
        size: side of the crop in pixels; `TEMPLATE` scales with it.

    Returns:
        uint8 `(size, size, 3)`.

    Raises:
        ValueError: `image`, `landmarks` or `size` is something else.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"expected a uint8 image (height, width, 3); got {image.dtype} {image.shape}: use read_image"
        )
    if np.shape(landmarks) != (5, 2):
        raise ValueError(
            f"expected landmarks (5, 2), {', '.join(LANDMARKS)}; got shape {np.shape(landmarks)}: "
            "use five_points for 66 or 68"
        )
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"size must be a positive integer; got {size!r}")
    to_crop = similarity(landmarks, TEMPLATE * (size / SIZE), _WEIGHTS)
    scale = math.hypot(to_crop[0, 0], to_crop[1, 0])  # pixels of the crop in one of the image
    # Of a picture so much smaller than the face its pixels could not be counted.
    if not scale * max(image.shape) > 1e-3:
        raise ValueError(f"the landmarks {np.asarray(landmarks).tolist()} do not resemble a face")
    to_image = np.linalg.inv(np.vstack([to_crop, (0, 0, 1)]))[:2]
    picture = Image.fromarray(image)
    # Merging whole pixels first is much faster than what follows, which turns and averages.
    whole = max(1, int(0.5 / scale))
    if whole > 1:
        picture = picture.reduce(whole)
        to_image /= whole
    samples = math.ceil(1 / (scale * whole))  # along each side of a pixel of the crop
    to_image[:, :2] /= samples
    warped = picture.transform(
        (size * samples, size * samples), Image.Transform.AFFINE, to_image.ravel(), Image.Resampling.BICUBIC
    )
    return np.asarray(warped.reduce(samples))


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """The five points of `LANDMARKS` from the 68 of iBUG or the 66 of DISFA.

    The 66 points are the 68 without the inner mouth corners (60 and 64), so that both agree up to point 59.

    Args:
        landmarks: `(..., 68, 2)` or `(..., 66, 2)`; the eye on the left of the image is points 36 to 41.

    Returns:
        `(..., 5, 2)`: eye centres (the mean of six points each), nose tip (30), mouth corners (48, 54).

    Raises:
        ValueError: another number of points.
    """
    points = np.asarray(landmarks, np.float64)
    if points.ndim < 2 or points.shape[-2] not in (66, 68) or points.shape[-1] != 2:
        raise ValueError(f"expected landmarks (68, 2) of iBUG or (66, 2) of DISFA; got shape {points.shape}")
    eyes = [points[..., eye, :].mean(axis=-2) for eye in (slice(36, 42), slice(42, 48))]
    return np.stack([*eyes, points[..., 30, :], points[..., 48, :], points[..., 54, :]], axis=-2)
