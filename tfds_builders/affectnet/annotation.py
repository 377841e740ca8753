"""What AffectNet says of one image, whichever distribution says it, and the checks of its values.

Not for finding or opening files: `csv_tree`, `npy_files` and `json_files` do that.
"""

import dataclasses
import math
from typing import Any

import numpy as np

# By the codes 0 to 10. "none" is an annotation (no expression of this list), not a missing one.
EXPRESSIONS = (
    "neutral",
    "happy",
    "sad",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
    "none",
    "uncertain",
    "non_face",
)
NO_BOX = (-1, -1, -1, -1)
MAX_PIXELS = 1_000_000
LANDMARKS = (68, 2)
NULL_BOX = "face box is NULL"
NO_IMAGE = "image is absent"


@dataclasses.dataclass(kw_only=True)
class Annotation:
    """One image of AffectNet.

    Attributes:
      file: What identifies it: `<folder>/<name>` of the CSV, or the id.
      expression: Code, 0 to 10; None where `problem` is that it has none.
      image: Name in the archive.
      valence: -1 to 1, NaN where not annotated.
      arousal: -1 to 1, NaN where not annotated.
      landmarks: (68, 2), x and y in pixels of the image, or None.
      face_box: Left, top, width, height as given; `NO_BOX` where none is.
      problem: Why it cannot be stored, or empty.
    """

    file: str
    expression: int | None = None
    image: str = ""
    valence: float = math.nan
    arousal: float = math.nan
    landmarks: np.ndarray | None = None
    face_box: tuple[int, int, int, int] = NO_BOX
    problem: str = ""


def number(value: Any, what: str, where: str) -> float:
    """Returns `value`, a number or its decimal text, as a float.

    Raises:
      ValueError: naming `where`, if it is neither, or not finite.
    """
    try:
        result = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    if not math.isfinite(result):
        raise ValueError(f"{where}: expected a number as {what}; got {value!r:.99}: get the file again.")
    return result


def pixels(value: Any, what: str, where: str) -> int:
    """Returns a side or corner of a box.

    Raises:
      ValueError: if it is no number, or larger than any image.
    """
    side = number(value, what, where)
    if abs(side) > MAX_PIXELS:
        raise ValueError(f"{where}: expected pixels as {what}; got {value!r:.99}: get the file again.")
    return int(side)


def expression_code(value: Any, where: str) -> int:
    """Returns the code of an expression, 0 to 10.

    Raises:
      ValueError: if `value` is something else.
    """
    code = number(value, "expression", where)
    if code not in range(len(EXPRESSIONS)):
        raise ValueError(
            f"{where}: expected an expression from 0 (neutral) to 10 (non-face); got {value!r}: "
            "get the original annotations."
        )
    return int(code)


def affect(value: Any, what: str, where: str) -> float:
    """Returns valence or arousal, NaN for AffectNet's -2, which means not annotated.

    Raises:
      ValueError: if `value` is no number from -1 to 1, nor -2.
    """
    level = number(value, what, where)
    if level == -2:
        return math.nan
    if not -1 <= level <= 1:
        raise ValueError(
            f"{where}: expected {what} from -1 to 1, or -2 where not annotated; got {value!r}: "
            "get the original annotations."
        )
    return level


def landmarks(values: Any) -> np.ndarray | None:
    """Returns 68 points (68, 2) of 136 numbers in any nesting, x before y; None if they are not that."""
    try:
        points = np.asarray(values, np.float32).reshape(LANDMARKS)
    except (TypeError, ValueError, OverflowError):
        return None
    return points if np.isfinite(points).all() else None
