"""Frames of a video, one after another, by OpenCV, which comes with the extra `align`.

Not for seeking: many files do not seek to the frame asked for, and labels would belong to other frames.
"""

import os
from collections.abc import Iterator

import numpy as np


def frames(path: str | os.PathLike) -> Iterator[np.ndarray]:
    """Yields the frames of a video from the first on, uint8 (height, width, 3) RGB.

    A truncated file yields what there is: compare the number of frames.

    Raises:
      ImportError: OpenCV is not installed.
      ValueError: OpenCV finds no frame, or cannot decode one.
    """
    try:
        import cv2
    except ImportError as error:
        raise ImportError("decoding videos needs OpenCV: pip install 'keras-emoco[align]'") from error
    capture = cv2.VideoCapture(os.fspath(path))
    number = 0
    try:
        while capture.grab():
            number += 1
            decoded, image = capture.retrieve()
            if not decoded:
                raise ValueError(f"{os.fspath(path)}: frame {number} does not decode: copy the video again.")
            yield np.ascontiguousarray(image[..., ::-1])
    finally:
        capture.release()
    if not number:
        raise ValueError(
            f"{os.fspath(path)}: OpenCV finds no frame in it: copy the video again, or convert it."
        )
