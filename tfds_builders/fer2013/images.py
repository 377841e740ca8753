"""Lists the images of a copy of FER2013, and reads one.

Not for finding the copy, nor for FER+'s labels.
"""

import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tfds_builders import archives, sequences, tables
from tfds_builders.fer2013 import layout

USAGES = ("Training", "PublicTest", "PrivateTest")
USAGES_OF_SPLIT = {"train": USAGES[:1], "test": USAGES[1:]}

IMAGE_SIZE = 48


class Image(NamedTuple):
    """An image of the copy.

    Attributes:
      source: The name of its file in the archive; of a row of the CSV its cell of pixels.
      emotion: One of `layout.EMOTIONS`.
      usage: One of `USAGES`, or -1 where the copy does not tell.
      file: What it is called in the data set.
      votes: Of FER+'s annotators, (10,) uint8; None without FER+.
    """

    source: str
    emotion: str
    usage: str | int
    file: str
    votes: np.ndarray | None = None


def list_all(archive: archives.Archive, copy: layout.Copy, split: str) -> Iterator[Image]:
    """Yields the images of a split.

    Raises:
      ValueError: an emotion has no image, or the copy is not as it is handed out.
    """
    absent = set(layout.EMOTIONS)
    images = list_rows if copy.member.endswith(".csv") else list_files
    for image in images(archive, copy.member, split):
        absent.discard(image.emotion)
        yield image
    if absent:
        names = ", ".join(emotion for emotion in layout.EMOTIONS if emotion in absent)
        raise ValueError(
            f"{copy}: the split {split} has no image of {names}: the copy is not complete; get it again."
        )


def list_files(archive: archives.Archive, root: str, split: str) -> Iterator[Image]:
    """Yields the images of `<root>/<split>/<emotion>/`.

    Raises:
      ValueError: naming the file, if there are others.
    """
    prefix = f"{split}/" if root == "." else f"{root}/{split}/"
    for name in archive.names:
        if not (name.startswith(prefix) and name.lower().endswith(layout.IMAGE_SUFFIXES)):
            continue
        where = f"{archive.path}: {name!r}"
        folder, _, file = name.removeprefix(prefix).partition("/")
        emotion = layout.EMOTION_OF_FOLDER.get(folder.lower())
        if emotion is None or "/" in file or not file:
            raise ValueError(
                f"{where}: expected {split}/<emotion>/<image>, with <emotion> one of "
                f"{', '.join(sorted(layout.EMOTION_OF_FOLDER))}; got {folder!r}: rename the folder or "
                "remove it."
            )
        yield Image(name, emotion, _usage(file, split, where), f"{split}/{folder}/{file}")


def list_rows(archive: archives.Archive, table: str, split: str) -> Iterator[Image]:
    """Yields the images of the CSV `table`.

    Raises:
      ValueError: naming the row, if it is not the challenge's.
    """
    with archive.open_text(table) as text:
        rows = tables.rows(text, f"{archive.path}: {table!r}")
        header = [cell.strip().lower() for cell in next(rows, [])]
        missing = {"emotion", "pixels", "usage"} - set(header)
        if missing:
            raise ValueError(
                f"{archive.path}: {table!r} has no column {', '.join(sorted(missing))}; expected a header "
                f"with emotion, pixels, Usage; got {', '.join(header) or 'an empty file'}: get the original "
                "copy."
            )
        for line, row in enumerate(rows, start=2):
            where = _row(archive, table, line)
            if len(row) != len(header):
                raise ValueError(
                    f"{where}: expected {len(header)} cells; got {len(row)}: the file is truncated or "
                    "was edited; get it again."
                )
            cells = dict(zip(header, row, strict=True))
            usage = cells["usage"].strip()
            if usage not in USAGES:
                raise ValueError(
                    f"{where}: expected a Usage of {', '.join(USAGES)}; got {usage!r}: get the original copy."
                )
            if usage in USAGES_OF_SPLIT[split]:
                emotion = _emotion(cells["emotion"], where)
                yield Image(cells["pixels"], emotion, usage, f"{table.split('/')[-1]}:{line}")


def read(archive: archives.Archive, image: Image, copy: layout.Copy) -> sequences.Frame:
    """Returns the frame of an image.

    Raises:
      ValueError: naming it, if it is no original one.
    """
    if copy.member.endswith(".csv"):
        pixels = _pixels(image.source, _row(archive, copy.member, line_of(image)))
    else:
        data, size = archive.read_image(image.source)
        if size != (IMAGE_SIZE, IMAGE_SIZE):
            raise ValueError(
                f"{archive.path}: {image.source!r}: expected {IMAGE_SIZE}x{IMAGE_SIZE} pixels; got "
                f"{size[0]}x{size[1]}: this is no original image of FER2013; get the original copy."
            )
        pixels = io.BytesIO(data)
    example = {"image": pixels, "emotion": image.emotion, "usage": image.usage, "file": image.file}
    if image.votes is not None:
        example["votes"] = image.votes
    return sequences.Frame(image.file, image.emotion, example)


def line_of(image: Image) -> int:
    """The line of the CSV that an image of `list_rows` is from; the header is line 1."""
    return int(image.file.rpartition(":")[2])


def _row(archive: archives.Archive, table: str, line: int) -> str:
    return f"{archive.path}: {table!r}, row {line}"


def _usage(file: str, split: str, where: str) -> str | int:
    """Returns the challenge's split from the file's prefix; the folder suffices where it has one meaning."""
    usages = USAGES_OF_SPLIT[split]
    usage = next((usage for usage in USAGES if file.startswith(f"{usage}_")), None)
    if usage is None:
        return usages[0] if len(usages) == 1 else -1
    if usage not in usages:
        raise ValueError(
            f"{where}: the name says {usage}, but the folder {split}/ is for {' and '.join(usages)}: "
            "the copy mixes training and test images; get the original copy."
        )
    return usage


def _pixels(text: str, where: str) -> np.ndarray:
    """Returns the image (48, 48, 1) of a cell of 2,304 numbers from 0 to 255, row by row."""
    try:
        values = bytes(map(int, text.split()))
    except ValueError as error:
        raise ValueError(
            f"{where}: pixels must be whole numbers from 0 to 255 ({error}): get it again."
        ) from error
    if len(values) != IMAGE_SIZE**2:
        raise ValueError(
            f"{where}: expected {IMAGE_SIZE**2} pixels; got {len(values)}: the file is truncated or "
            "was edited; get it again."
        )
    return np.frombuffer(values, np.uint8).reshape(IMAGE_SIZE, IMAGE_SIZE, 1)


def _emotion(text: str, where: str) -> str:
    codes = {str(code): emotion for code, emotion in enumerate(layout.EMOTION_OF_CSV_CODE)}
    if text.strip() not in codes:
        raise ValueError(
            f"{where}: expected an emotion from 0 to {len(codes) - 1}; got {text!r}: get the original copy."
        )
    return codes[text.strip()]
