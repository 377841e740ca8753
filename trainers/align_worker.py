"""What a worker of `trainers.align` does: read pictures, find faces, write crops. Not for choosing them."""

import dataclasses
import functools
import multiprocessing
import os
import pathlib
import signal
import threading

import numpy as np
import tensorflow as tf
from PIL import Image

from keras_emoco import align

BATCH_PIXELS = 64_000_000  # held in memory at most, but for one picture


@dataclasses.dataclass(frozen=True)
class Item:
    """A picture or a frame of a video; without a frame number also a whole video.

    Attributes:
        file: its path relative to the input.
        frame: counted from 1, or None.
        stamp: tells whether the file has changed.
        image: path, or the pixels of a frame.
    """

    file: str
    frame: int | None
    stamp: list
    image: str | np.ndarray

    def output(self, face: int, every_face: bool) -> str:
        """Where the crop of a face goes, relative to the output directory."""
        path = self.file if self.frame is None else f"{self.file}/{self.frame:06d}.jpg"
        stem, suffix = os.path.splitext(path)
        if suffix.lower() not in (".jpg", ".jpeg", ".png"):
            stem, suffix = path, ".png"
        if not every_face:
            return stem + suffix
        # The folder has a picture's full name, so that two pictures that differ in their suffix keep apart.
        return f"{path if self.frame is None else stem}/{face}{suffix}"


def start_worker(threads: int) -> None:
    """Prepares a new process that computes with so many threads and ends with its parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent answers it
    # A worker whose parent was killed would wait for its next batch for ever.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    tf.config.set_visible_devices([], "GPU")
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


_detector = functools.cache(align.Detector)  # one for each worker


def align_batch(batch: list[Item], output: pathlib.Path, every_face: bool, size: int) -> list[dict]:
    """Writes the crops of a batch; returns an entry of the journal for each of its items."""
    entries, held, pixels = [], [], 0
    for item in batch:
        try:
            image = align.read_image(item.image) if isinstance(item.image, str) else item.image
        except (ValueError, OSError) as error:
            entries.append(entry(item, "unreadable", str(error)))
            continue
        held.append((item, image))
        pixels += image.shape[0] * image.shape[1]
        if pixels > BATCH_PIXELS:
            entries += _align(held, output, every_face, size)
            held, pixels = [], 0
    return entries + _align(held, output, every_face, size)


def _align(held, output, every_face, size):
    entries = []
    for (item, image), found in zip(held, _detector().detect([image for _, image in held]), strict=True):
        faces = []
        for index, face in enumerate(found if every_face else found[:1]):
            # As in faces.csv, so that the crop can be made again from it.
            landmarks = np.round(face.landmarks, 2)
            path = item.output(index, every_face)
            save(Image.fromarray(align.crop(image, landmarks, size)), output / path)
            faces.append(
                {
                    "confidence": round(face.confidence, 4),
                    "box": [round(number, 2) for number in face.box],
                    "landmarks": landmarks.tolist(),
                    "output": path,
                }
            )
        entries.append(entry(item, "aligned" if faces else "no_face", faces=faces))
    return entries


def entry(item: Item, status: str, reason: str = "", faces: list = ()) -> dict:
    """What the journal keeps of an item."""
    return {
        "file": item.file,
        "frame": item.frame,
        "stamp": item.stamp,
        "status": status,
        "reason": reason,
        "faces": list(faces),
    }


def save(picture: Image.Image, path: pathlib.Path) -> None:
    """Writes a picture whole or not at all, as PNG or JPEG by its suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    if path.suffix.lower() == ".png":
        picture.save(partial, "PNG")
    else:
        picture.save(partial, "JPEG", quality=95, subsampling=0)
    partial.replace(path)
