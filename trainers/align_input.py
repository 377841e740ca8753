"""Which files `trainers.align` reads: pictures and videos, by their names. Not for what is in them."""

import os
import pathlib
from collections.abc import Iterator

from keras_emoco import align
from trainers import align_worker as worker

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
VIDEOS = (".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv")


def list_input(root: pathlib.Path, output: pathlib.Path) -> list[worker.Item]:
    """Pictures and videos (items without frame) of the input, in the order of their names.

    Raises:
        FileNotFoundError: `root` does not exist.
        ValueError: nothing to align, input and output in each other, or two files with one output.
    """
    if not root.exists():
        raise FileNotFoundError(f"--input={root} does not exist")
    real = root.resolve()
    if root.is_dir() and (output.is_relative_to(real) or real.is_relative_to(output)):
        raise ValueError(f"--output={output} and --input={root} lie in each other: write somewhere else")
    if root.is_dir():
        paths = {os.path.relpath(path, root): path for path in _walk(str(root), ())}
    else:
        paths = {root.name: str(root)} if root.suffix.lower() in IMAGES + VIDEOS else {}
        if output == real.parent:
            raise ValueError(f"--output={output} holds the input: crops would replace pictures")
    if not paths:
        raise ValueError(f"no picture or video in --input={root}: known are {', '.join(IMAGES + VIDEOS)}")
    items = [worker.Item(file, None, _stamp(path), path) for file, path in sorted(paths.items())]
    outputs = {"contact_sheet.png": "the contact sheet"}
    for item in (item for item in items if not is_video(item.file)):
        other = outputs.setdefault(item.output(0, False), item.file)
        if other != item.file:
            raise ValueError(
                f"{item.file} and {other} would both be written to {item.output(0, False)}: rename it"
            )
    return items


def _walk(directory: str, ancestors: tuple[str, ...]) -> Iterator[str]:
    """Files to align below a directory; a link to a directory that it lies in is not followed."""
    real = os.path.realpath(directory)
    if real in ancestors:
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _walk(entry.path, (*ancestors, real))
            elif os.path.splitext(entry.name)[1].lower() in IMAGES + VIDEOS:
                yield entry.path


def _stamp(path):
    try:
        status = os.stat(path)
    except OSError:
        return [-1, -1]  # a broken link: reading it will say so
    return [status.st_size, status.st_mtime_ns]


def is_video(file: str) -> bool:
    """Whether it is one, by its name."""
    return file.lower().endswith(VIDEOS)


def cut_off(video: str, last: int) -> str:
    """Why a video whose frames end with number `last` is not whole; empty where it is."""
    announced = align.announced_frames(video)
    # Headers estimate, and some are one off.
    if last >= announced - 1:
        return ""
    return f"{video}: frames end at {last} of {announced} that its header states: copy it again"
