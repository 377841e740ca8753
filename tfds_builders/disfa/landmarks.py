"""Reads the 66 landmarks that DISFA gives of each frame. Not for what they are used for."""

import io
import re
import struct
import zlib

import numpy as np
import scipy.io

from tfds_builders import archives, places

POINTS = 66
MAX_BYTES = 1 << 20  # A file has 66 points; more unpacked bytes are none of it.

_HEADER_BYTES = 128  # Of MATLAB's format, level 5; its last two tell the order of bytes.
_MATRIX, _COMPRESSED = 14, 15
_TYPES = frozenset((1, 2, 3, 4, 5, 6, 7, 9, 12, 13, _MATRIX, _COMPRESSED, 16, 17, 18))


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
        data = reader.read(place)
        order = {b"IM": "<", b"MI": ">"}[data[_HEADER_BYTES - 2 : _HEADER_BYTES]]
        _check_types(data[_HEADER_BYTES:], order)
        points = np.asarray(scipy.io.loadmat(io.BytesIO(data))["pts"], np.float32)
    except Exception as error:  # Damage makes SciPy raise many kinds of errors; the remedy is the same.
        raise archives.ArchiveError(
            f"{place}: cannot be read as a MATLAB file with 'pts' ({error}): get it again, or remove it."
        ) from error
    if points.shape != (POINTS, 2):
        raise archives.ArchiveError(
            f"{place}: expected 'pts' of shape ({POINTS}, 2); got {points.shape}: get it again, or remove it."
        )
    return points


def _check_types(data: bytes, order: str) -> None:
    """Raises ValueError for a type of data that the format does not have: at it SciPy ends by a fault."""
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, at)
        start, end = at + 8, at + 8 + size
        if kind >> 16:  # A small element has both in the first four bytes, and its data in the others.
            kind, start, end = kind & 0xFFFF, at + 4, at + 8
        if kind not in _TYPES:
            raise ValueError(f"data of type {kind}")
        if kind == _COMPRESSED:
            unpacker = zlib.decompressobj()
            _check_types(unpacker.decompress(data[start:end], MAX_BYTES), order)
            if unpacker.unconsumed_tail:
                raise ValueError(f"more than {MAX_BYTES:,} bytes")
        else:
            if kind == _MATRIX:
                _check_types(data[start:end], order)
            end += -end % 8
        at = end
