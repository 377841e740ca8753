"""Reads DISFA's text files of intensities, and which frames its own landmarks are unusable on.

Not for finding the files, nor for deciding from which intensity on an action unit counts as present.
"""

import functools
import pathlib
from collections.abc import Mapping

import numpy as np

from tfds_builders import places, tables

ACTION_UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
MAX_INTENSITY = 5

UNTRACKED = pathlib.Path(__file__).with_name("untracked.tsv")


def read(
    reader: places.Reader, files: Mapping[int, places.Place]
) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Returns the labels of one subject.

    Args:
      reader: Reads the files.
      files: The text file of each of `ACTION_UNITS`.

    Returns:
      For each frame, the first being 1, in ascending order: intensities (12,) uint8, 0 to 5, and which of
      them are coded (12,) bool. What one file lacks at the end and another has is not coded.

    Raises:
      ValueError: naming the file, the line and the remedy.
    """
    columns = [_intensities(reader, files[unit]) for unit in ACTION_UNITS]
    frames = sorted(set().union(*columns))
    return {
        frame: (
            np.array([column.get(frame, 0) for column in columns], np.uint8),
            np.array([frame in column for column in columns], np.bool_),
        )
        for frame in frames
    }


def _intensities(reader: places.Reader, place: places.Place) -> dict[int, int]:
    """Returns the intensity of each frame of a text file with lines `frame,intensity`."""
    found = {}
    for number, line in enumerate(reader.read(place).decode("utf-8-sig", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        frame, comma, intensity = (cell.strip() for cell in line.partition(","))
        values = tables.whole_number(frame), tables.whole_number(intensity)
        if not comma or None in values or values[1] > MAX_INTENSITY:
            raise ValueError(
                f"{place}, line {number}: expected frame,intensity with an intensity from 0 to "
                f"{MAX_INTENSITY}; got {line!r}: get the file again from the original copy."
            )
        if values[0] != len(found) + 1:
            raise ValueError(
                f"{place}, line {number}: expected frame {len(found) + 1}; got {frame}: lines are missing or "
                "doubled; get the file again from the original copy."
            )
        found[values[0]] = values[1]
    if not found:
        raise ValueError(f"{place}: holds no label: get the file again from the original copy.")
    return found


@functools.cache
def untracked(subject: str) -> tuple[range, ...]:
    """Returns the ranges of frames on which DISFA's own landmarks of a subject are unusable.

    JAA-Net and its successors leave these frames out, 4,670 in all; ME-GraphAU and others do not.
    """
    return tuple(
        range(row["first"], row["last"] + 1)
        for row in tables.records(UNTRACKED, {"subject": str, "first": int, "last": int})
        if row["subject"] == subject
    )
