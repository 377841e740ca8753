"""What `trainers.build` passes to builders: it cuts out a face by the landmarks given, or by those it finds.

A module of its own, so that Apache Beam's workers, other processes, can import it.
"""

import functools

import numpy as np

from keras_emoco import align

MIN_FACE = 4  # pixels between the outermost landmarks; less are no pixels, but shares of the image

_detector = functools.cache(align.Detector)  # Loaded only if some image comes without landmarks.


def cut_out(image: np.ndarray, landmarks: np.ndarray | None) -> np.ndarray | None:
    """Cuts out the face: that of the landmarks, or the largest that is found.

    Args:
        image: uint8 `(height, width, 3)`.
        landmarks: `(68, 2)`, `(66, 2)` or the five of `keras_emoco.align.LANDMARKS`, in pixels of the image;
            None, or what cannot be a face in this image, to search for one.

    Returns:
        uint8 `(256, 256, 3)`, or None if no face is found.
    """
    points = landmarks if landmarks is None or len(landmarks) == 5 else align.five_points(landmarks)
    if points is None or not _in_image(points, image):
        faces = _detector()(image)
        if not faces:
            return None
        points = faces[0].landmarks
    return align.crop(image, points)


def _in_image(points, image):
    height, width = image.shape[:2]
    inside = ((points >= 0) & (points <= (width, height))).all(axis=1)
    return inside.sum() >= 3 and np.ptp(points, axis=0).max() >= MIN_FACE
