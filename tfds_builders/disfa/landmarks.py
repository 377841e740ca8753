"""Reads the 66 landmarks that DISFA gives of each frame. Not for what they are used for."""

import io
import re

import numpy as np
import scipy.io

from tfds_builders import archives, places

POINTS = 66


def find(reader: places.Reader, folder: places.Place, frames: int) -> dict[int, places.Place]:
    """Returns the landmark file of each frame, the first frame being 1; some may be lacking.

    File k belongs to frame k + 1, as `SN001_0000_lm.mat` to the first. SN031 and perhaps others have names
    such as `l00001_lm.mat` with the number of the frame. One subject has a file more than frames; its first
    belongs to none.

    Args:
      reader: Lists the folder.
      folder: `tmp_frame_lm` of one subject.
      frames: How many frames have labels.
    """
    counted, numbered = {}, {}
    for place in reader.files(folder):
        name = (place.member or place.path.name).rpartition("/")[2].lower()
        if match := re.fullmatch(r"sn\d{3}_(\d+)_lm\.mat", name):
            counted[int(match[1])] = place
        elif match := re.fullmatch(r"l0(\d+)_lm\.mat", name):
            numbered[int(match[1])] = place
    first = 1 if len(counted) == frames + 1 else 0
    return numbered | {number + 1 - first: place for number, place in counted.items() if number >= first}


def read(reader: places.Reader, place: places.Place) -> np.ndarray:
    """Returns the landmarks of one frame (66, 2) float32, x and y in pixels of the image.

    Raises:
      ArchiveError: the file is damaged or holds something else.
    """
    try:
        points = np.asarray(scipy.io.loadmat(io.BytesIO(reader.read(place)))["pts"], np.float32)
    except Exception as error:  # Damage makes SciPy raise many kinds of errors; the remedy is the same.
        raise archives.ArchiveError(
            f"{place}: cannot be read as a MATLAB file with 'pts' ({error}): get it again, or remove it."
        ) from error
    if points.shape != (POINTS, 2):
        raise archives.ArchiveError(
            f"{place}: expected 'pts' of shape ({POINTS}, 2); got {points.shape}: get it again, or remove it."
        )
    return points
