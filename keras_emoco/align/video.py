"""Frames of a video, in order, by OpenCV. Not for seeking: many files do not seek to the frame asked for."""

import os
from collections.abc import Callable, Iterator

import numpy as np


def frames(
    path: str | os.PathLike, wanted: Callable[[int], bool] = lambda number: True
) -> Iterator[tuple[int, np.ndarray]]:
    """The frames of a video whose number is wanted; the others are decoded and dropped.

    Args:
        path: the video.
        wanted: of a frame's number, whether to give it; the first frame is number 1.

    Yields:
        Number and uint8 `(height, width, 3)` RGB, turned upright as the file says.

    Raises:
        ImportError: OpenCV is not installed.
        OSError: the file cannot be opened.
        ValueError: it is no video that OpenCV can decode, or has no frame.
    """
    cv2 = _cv2()
    with open(path, "rb"):
        capture = cv2.VideoCapture(os.fspath(path))
    number = 0
    try:
        while capture.grab():
            number += 1
            if wanted(number):
                decoded, image = capture.retrieve()
                if not decoded:
                    raise ValueError(
                        f"cannot decode frame {number} of {os.fspath(path)}: copy the file again"
                    )
                yield number, np.ascontiguousarray(image[..., ::-1])
    finally:
        capture.release()
    if not number:
        raise ValueError(
            f"cannot read {os.fspath(path)}: OpenCV finds no frame in it: copy the file again, or convert it"
        )


def announced_frames(path: str | os.PathLike) -> int:
    """The number of frames that the file's header states, an estimate; 0 where it states none."""
    cv2 = _cv2()
    capture = cv2.VideoCapture(os.fspath(path))
    try:
        return max(0, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)))
    finally:
        capture.release()


def _cv2():
    try:
        import cv2
    except ImportError as error:
        raise ImportError("reading videos needs OpenCV: pip install 'keras-emoco[align]'") from error
    return cv2
