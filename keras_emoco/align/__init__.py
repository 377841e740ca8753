"""Face alignment as in section III.A of the paper: five landmarks, a similarity, a crop of 256 x 256.

`read_image` reads pictures, `Detector` finds faces and landmarks, `five_points` takes them from 68 or 66
given ones, `crop` aligns to `TEMPLATE`, `frames` reads videos, `contact_sheet` shows results; `python -m
trainers.align` does all of it for folders. Faces and videos need `pip install 'keras-emoco[align]'`.
"""

from keras_emoco.align.contact_sheet import contact_sheet
from keras_emoco.align.detector import Detector, Face
from keras_emoco.align.geometry import LANDMARKS, SIZE, TEMPLATE, crop, five_points, similarity
from keras_emoco.align.images import read_image
from keras_emoco.align.video import announced_frames, frames

__all__ = [
    "LANDMARKS",
    "SIZE",
    "TEMPLATE",
    "Detector",
    "Face",
    "announced_frames",
    "contact_sheet",
    "crop",
    "five_points",
    "frames",
    "read_image",
    "similarity",
]
