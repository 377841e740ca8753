"""Videos by OpenCV: the rate of their frames, the webcam, writing. `keras_emoco.align.frames` reads them.

OpenCV comes with the extra `align`. Not for sound, which it neither reads nor writes.
"""

import os
import pathlib
import time
from collections.abc import Iterator

import numpy as np
from PIL import Image

_USUAL_RATE = 25.0  # frames in a second, where a file states none that can be
_RATES = (0.1, 1000.0)  # the slowest and the fastest that can be; damaged headers state others
WEBCAM_RATE = 10.0  # of what is written


def frame_rate(path: str | os.PathLike) -> float:
    """Frames in a second, as the header of a video states them; 25 where it states none that can be.

    Raises:
        ImportError: OpenCV is not installed.
    """
    import cv2

    capture = cv2.VideoCapture(os.fspath(path))
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
    finally:
        capture.release()
    # NaN is between no numbers.
    return rate if _RATES[0] <= rate <= _RATES[1] else _USUAL_RATE


def webcam() -> Iterator[tuple[float, np.ndarray]]:
    """The pictures of the first camera, until it is taken away.

    Yields:
        Seconds since the first picture and uint8 `(height, width, 3)` RGB.

    Raises:
        ImportError: OpenCV is not installed.
        OSError: it finds no camera.
    """
    import cv2

    capture = cv2.VideoCapture(0)
    try:
        if not capture.isOpened():
            raise OSError("--input=webcam: OpenCV finds no camera here: connect one, or give a video")
        # Pictures that waited while others were searched would be of the past.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        start = None
        while True:
            read, image = capture.read()
            if not read:
                return
            start = time.monotonic() if start is None else start
            yield time.monotonic() - start, np.ascontiguousarray(image[..., ::-1])
    finally:
        capture.release()


class Writer:
    """Writes an MP4 without sound, picture by picture; nothing else is held in memory.

    Args:
        path: of the file, ending in .mp4; its directory is made.
        rate: frames in a second.

    Raises:
        ImportError: OpenCV is not installed.
    """

    def __init__(self, path: pathlib.Path, rate: float):
        self._path, self._rate = path, rate
        self._writer, self._size, self._written = None, None, 0
        path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, picture: Image.Image, seconds: float) -> None:
        """Adds a picture that is to be seen from `seconds` on.

        Pictures that come slower than the rate are repeated and faster ones dropped, so that what is written
        lasts as long as what was seen.

        Raises:
            OSError: OpenCV cannot write here.
            ValueError: the picture has another size than those before.
        """
        import cv2

        if self._writer is None:
            self._size = picture.size
            code = cv2.VideoWriter_fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), code, self._rate, self._size)
        if not self._writer.isOpened():
            raise OSError(f"OpenCV cannot write {self._path} of {self._size[0]} x {self._size[1]} pixels")
        # OpenCV drops it without a word.
        if picture.size != self._size:
            raise ValueError(f"{self._path} has pictures of {self._size}; got one of {picture.size}")
        frame = np.ascontiguousarray(np.asarray(picture)[..., ::-1])
        for _ in range(round(seconds * self._rate) + 1 - self._written):
            self._writer.write(frame)
            self._written += 1

    def close(self) -> None:
        """Ends the file; without it players refuse it."""
        if self._writer is not None:
            self._writer.release()
