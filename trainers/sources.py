"""What `trainers.predict` reads: pictures, frames of videos, the webcam, one after the other."""

import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from keras_emoco import align
from trainers import recordings
from trainers.align_input import IMAGES, VIDEOS, cut_off

WEBCAM = "webcam"


class Source(NamedTuple):
    """A picture, a video, or the webcam.

    Attributes:
        file: its path as the user has it.
        annotated: where the annotated one goes, relative to `annotated/`.
    """

    file: str
    annotated: str

    @property
    def moving(self) -> bool:
        """Whether it has frames."""
        return self.file == WEBCAM or self.file.lower().endswith(VIDEOS)


class Shot(NamedTuple):
    """A picture or a frame, or why there is none.

    Attributes:
        source: where it is from.
        frame: counted from 1; None of a picture.
        time: seconds from the first frame; None of a picture.
        image: uint8 `(height, width, 3)`, or None.
        reason: why there is no image.
    """

    source: Source
    frame: int | None
    time: float | None
    image: np.ndarray | None
    reason: str = ""


def list_sources(arguments: Sequence[str], kind: str, output: pathlib.Path) -> list[Source]:
    """Pictures and videos that the arguments name, those of a folder and its folders in order of their names.

    Links to files are followed, links to folders inside a folder are not.

    Args:
        arguments: files and folders.
        kind: "files", or "webcam" instead of them.
        output: the folder to write to.

    Raises:
        FileNotFoundError: an argument does not exist.
        ValueError: there is nothing to predict on, `output` exists or lies in a folder that is read, or two
            files would have the same annotated file.
    """
    if output.exists():
        raise ValueError(f"--output={output} is there already: remove it, or give another")
    if bool(arguments) == (kind == WEBCAM):
        raise ValueError("give pictures, videos or folders, or --input=webcam, one of them")
    if kind == WEBCAM:
        return [Source(WEBCAM, "webcam.mp4")]
    roots = [pathlib.Path(argument) for argument in arguments]
    # Not resolved: a link stands for a file of its own, wherever what it points to lies.
    files = {os.path.abspath(file): file for root in roots for file in _files(root, output)}
    base = os.path.commonpath([os.path.abspath(root if root.is_dir() else root.parent) for root in roots])
    sources, taken = [], {}
    for path, file in files.items():
        source = Source(str(file), _annotated(os.path.relpath(path, base)))
        other = taken.setdefault(source.annotated, source.file)
        if other != source.file:
            raise ValueError(
                f"{source.file} and {other} would both be annotated in {source.annotated}: rename it"
            )
        sources.append(source)
    return sources


def _annotated(path):
    suffixes = (".mp4",) if path.lower().endswith(VIDEOS) else (".png", ".jpg", ".jpeg")
    return path if path.lower().endswith(suffixes) else path + suffixes[0]


def _files(root, output):
    """What an argument stands for."""
    if root.is_dir():
        if output.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"--output={output} lies in {root}, which is read: write somewhere else")
        known = (path for path in sorted(root.rglob("*")) if path.suffix.lower() in IMAGES + VIDEOS)
        found = [path for path in known if not path.is_dir()]
    elif not root.exists():
        raise FileNotFoundError(f"{root} does not exist: give a picture, a video or a folder of them")
    else:
        found = [root] if root.suffix.lower() in IMAGES + VIDEOS else []
    if not found:
        raise ValueError(f"no picture or video in {root}: known are {', '.join(IMAGES + VIDEOS)}")
    return found


def shots(sources: Iterable[Source], every: int) -> Iterator[Shot]:
    """The pictures and frames of the sources in order; of what cannot be read, one that says why."""
    for source in sources:
        try:
            if source.file == WEBCAM:
                for number, (seconds, image) in enumerate(recordings.webcam(), 1):
                    yield Shot(source, number, seconds, image)
            elif source.moving:
                yield from _frames(source, every)
            else:
                yield Shot(source, None, None, align.read_image(source.file))
        except (ValueError, OSError) as error:
            if source.file == WEBCAM:
                raise
            yield Shot(source, None, None, None, str(error))


def _frames(source, every):
    rate, last = recordings.frame_rate(source.file), 0

    def wanted(number):
        nonlocal last
        last = number
        return (number - 1) % every == 0

    for number, image in align.frames(source.file, wanted):
        yield Shot(source, number, (number - 1) / rate, image)
    reason = cut_off(source.file, last)
    if reason:
        raise ValueError(reason)
