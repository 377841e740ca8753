"""The rig of the face: template points, identity shapes and one blend shape per action unit.

Everything here is geometry in face units, before pose. Colours and drawing are in `paint.py`, wrinkles and
relief in `surface.py`.

Face units: one unit is half the width of an average head. The origin lies between the eyes and the nose, x
grows to the right of the image, y downwards, z towards the viewer. Only the image-right half is written down;
the other half is its mirror image, moved by the action-unit strengths of its own side.
"""

import functools

import numpy as np

ACTION_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 17, 20, 23, 24, 25, 26)


def depth(x: float, y: float) -> float:
    """Returns z of the skin at (x, y): an ellipsoid with semi-axes 1.1, 1.75 and 0.85 face units."""
    return 0.85 * max(0.05, 1 - (x / 1.1) ** 2 - (y / 1.75) ** 2) ** 0.5


# Points run from the midline outwards. A point of two numbers lies on the skin (`depth`).
TEMPLATE = {
    "contour": [  # chin to crown; a silhouette does not move in depth, hence z = 0
        (0.00, 1.27, 0),
        (0.24, 1.23, 0),
        (0.47, 1.07, 0),
        (0.68, 0.80, 0),
        (0.83, 0.44, 0),
        (0.91, 0.02, 0),
        (0.93, -0.42, 0),
        (0.86, -0.86, 0),
        (0.58, -1.20, 0),
        (0.00, -1.34, 0),
    ],
    "ear": [
        (0.90, -0.16, -0.12),
        (1.03, -0.22, -0.15),
        (1.09, -0.08, -0.15),
        (1.04, 0.12, -0.15),
        (0.97, 0.27, -0.12),
        (0.88, 0.24, -0.10),
    ],
    "brow_upper": [(0.135, -0.435), (0.28, -0.50), (0.49, -0.52), (0.71, -0.43)],
    "brow_lower": [(0.125, -0.37), (0.28, -0.41), (0.49, -0.44), (0.71, -0.42)],
    "eye_corner": [(0.175, -0.06), (0.605, -0.10)],
    "lid_upper": [(0.26, -0.165), (0.385, -0.21), (0.51, -0.185)],
    "lid_lower": [(0.27, -0.015), (0.385, 0.015), (0.51, -0.015)],
    "crease": [(0.20, -0.16), (0.29, -0.255), (0.40, -0.285), (0.52, -0.255), (0.62, -0.16)],
    "iris": [(0.39, -0.098)],
    "nose_tip": [(0.0, 0.27, 1.05)],
    "nose_wing": [(0.135, 0.17, 0.80), (0.195, 0.23, 0.78), (0.19, 0.31, 0.78), (0.12, 0.345, 0.85)],
    "nostril": [(0.085, 0.335, 0.88)],
    "corner": [(0.37, 0.645)],
    "lip_upper_outer": [(0.0, 0.545), (0.10, 0.525), (0.24, 0.575)],
    "lip_upper_inner": [(0.0, 0.645), (0.11, 0.635), (0.24, 0.64)],
    "lip_lower_inner": [(0.0, 0.645), (0.11, 0.635), (0.24, 0.64)],
    "lip_lower_outer": [(0.0, 0.785), (0.13, 0.775), (0.26, 0.725)],
    "hairline": [(0.0, -0.98), (0.34, -1.00), (0.66, -0.88), (0.81, -0.60, 0.15), (0.91, -0.15, 0)],
    "hair_outer": [(0.0, -1.58, 0), (0.52, -1.44, 0), (0.88, -1.08, 0), (1.02, -0.62, 0), (1.00, -0.15, 0)],
    "hair_back": [(1.04, -0.30, -0.3), (1.12, 0.25, -0.3), (1.10, 0.72, -0.3), (1.12, 1.15, -0.3),
                  (0.95, 1.75, -0.3), (0.70, 0.95, -0.3)],
    "glasses": [(0.155, -0.13), (0.19, -0.30), (0.40, -0.325), (0.64, -0.28), (0.66, -0.10), (0.55, 0.10),
                (0.36, 0.13), (0.19, 0.06)],
}  # fmt: skip

# What one unit of each identity parameter (about -1.5 to 1.5) adds to the points it names. A single vector
# holds for all points of the group.
IDENTITY_SHAPES = {
    "head_width": {
        "contour": [(0, 0), (0.01, 0), (0.03, 0), (0.05, 0), (0.06, 0), (0.06, 0), (0.06, 0), (0.05, 0),
                    (0.03, 0), (0, 0)],
        "ear": (0.06, 0),
        "hair_outer": [(0, 0), (0.03, 0), (0.05, 0), (0.06, 0), (0.06, 0)],
        "hair_back": (0.06, 0),
        "hairline": [(0, 0), (0.02, 0), (0.04, 0), (0.05, 0), (0.06, 0)],
    },
    "jaw_width": {"contour": [(0, 0), (0.06, 0.01), (0.09, 0.02), (0.08, 0.02), (0.04, 0)] + [(0, 0)] * 5},
    "chin_length": {"contour": [(0, 0.07), (0, 0.07), (0, 0.05), (0, 0.03)] + [(0, 0)] * 6},
    "eye_spacing": {
        g: (0.025, 0) for g in ("eye_corner", "lid_upper", "lid_lower", "crease", "iris", "glasses")
    },
    "eye_width": {
        "eye_corner": [(-0.02, 0), (0.03, 0)], "lid_upper": [(-0.01, 0), (0, 0), (0.015, 0)],
        "lid_lower": [(-0.01, 0), (0, 0), (0.015, 0)],
        "crease": [(-0.02, 0), (-0.01, 0), (0, 0), (0.015, 0), (0.03, 0)],
    },
    "eye_openness": {"lid_upper": (0, -0.012), "lid_lower": (0, 0.006), "crease": (0, -0.008)},
    "eye_tilt": {"eye_corner": [(0, 0.012), (0, -0.025)], "lid_upper": [(0, 0.004), (0, 0), (0, -0.012)],
                 "lid_lower": [(0, 0.004), (0, 0), (0, -0.012)]},
    "brow_height": {"brow_upper": (0, -0.02), "brow_lower": (0, -0.02)},
    "brow_thickness": {"brow_upper": [(0, -0.012), (0, -0.015), (0, -0.012), (0, -0.004)],
                       "brow_lower": [(0, 0.01), (0, 0.01), (0, 0.006), (0, 0)]},
    "brow_arch": {g: [(0, 0.006), (0, -0.004), (0, -0.015), (0, 0.01)] for g in ("brow_upper", "brow_lower")},
    "nose_length": {"nose_tip": (0, 0.03), "nose_wing": (0, 0.028), "nostril": (0, 0.03)},
    "nose_width": {"nose_wing": [(0.015, 0), (0.03, 0), (0.03, 0), (0.01, 0)], "nostril": (0.014, 0)},
    "mouth_width": {"corner": (0.025, 0), **{f"lip_{g}": [(0, 0), (0.008, 0), (0.016, 0)] for g in (
        "upper_outer", "upper_inner", "lower_inner", "lower_outer")}},
    "mouth_height": {g: (0, 0.02) for g in ("corner", "lip_upper_outer", "lip_upper_inner", "lip_lower_inner",
                                            "lip_lower_outer")},
    "upper_lip": {"lip_upper_outer": [(0, -0.018), (0, -0.022), (0, -0.012)]},
    "lower_lip": {"lip_lower_outer": [(0, 0.022), (0, 0.022), (0, 0.014)]},
    "hairline_height": {"hairline": [(0, -0.06), (0, -0.05), (0.01, -0.05), (0.02, -0.03), (0, 0)]},
    "hair_volume": {"hair_outer": [(0, -0.09), (0.04, -0.08), (0.07, -0.05), (0.06, -0.02), (0.03, 0)],
                    "hair_back": (0.06, 0)},
}  # fmt: skip

# What full strength (intensity 5) of each action unit adds: appearance changes after the FACS manual (Ekman,
# Friesen and Hager, 2002). Lids and lips that would cross are kept apart in `render.py`.
ACTION_UNIT_SHAPES = {
    1: {g: [(-0.01, -0.21), (0, -0.12), (0, -0.02), (0, 0)] for g in ("brow_upper", "brow_lower")},
    2: {
        **{g: [(0, 0), (0, -0.07), (0.01, -0.19), (0.02, -0.19)] for g in ("brow_upper", "brow_lower")},
        "crease": [(0, 0), (0, 0), (0, -0.02), (0, -0.04), (0, -0.05)],
    },
    4: {
        **{g: [(-0.06, 0.15), (-0.05, 0.13), (-0.02, 0.08), (0, 0.02)] for g in ("brow_upper", "brow_lower")},
        "crease": [(0, 0.03), (0, 0.04), (0, 0.03), (0, 0), (0, 0)],
    },
    5: {
        "lid_upper": [(0, -0.095), (0, -0.13), (0, -0.095)],
        "crease": [(0, 0), (0, -0.03), (0, -0.04), (0, -0.03), (0, 0)],
    },
    6: {"lid_lower": [(0, -0.015), (0, -0.025), (0, -0.03)], "eye_corner": [(0, 0), (0, 0.01)]},
    7: {
        "lid_lower": [(0, -0.085), (0, -0.10), (0, -0.085)],
        "lid_upper": [(0, 0.055), (0, 0.07), (0, 0.055)],
        "crease": [(0, 0), (0, 0.02), (0, 0.02), (0, 0.02), (0, 0)],
    },
    9: {
        "nose_wing": [(0.0, -0.10), (0.04, -0.13), (0.05, -0.12), (0.02, -0.07)],
        "nostril": (0.015, -0.07),
        "nose_tip": (0, -0.06),
        **{g: [(-0.03, 0.11), (0, 0.06), (0, 0.01), (0, 0)] for g in ("brow_upper", "brow_lower")},
        "lip_upper_outer": [(0, -0.02), (0, -0.02), (0, 0)],
    },
    10: {
        "lip_upper_outer": [(0, -0.105), (0.04, -0.13), (0.05, -0.11)],
        "lip_upper_inner": [(0, -0.10), (0.03, -0.10), (0.03, -0.07)],
        "nose_wing": [(0.01, -0.02), (0.03, -0.03), (0.03, -0.03), (0, 0)], "corner": (0.0, -0.015),
    },
    12: {
        "corner": (0.115, -0.16),
        "lip_upper_outer": [(0, 0.03), (0.02, 0.01), (0.06, -0.06)],
        "lip_upper_inner": [(0, 0.02), (0.02, 0.01), (0.07, -0.06)],
        "lip_lower_inner": [(0, 0.02), (0.02, 0.01), (0.07, -0.06)],
        "lip_lower_outer": [(0, 0.0), (0.03, -0.01), (0.08, -0.06)],
        "nose_wing": [(0, 0), (0.02, 0), (0.02, 0), (0, 0)],
    },
    15: {
        "corner": (0.02, 0.155),
        "lip_upper_outer": [(0, 0), (0, 0.015), (0.01, 0.08)],
        "lip_upper_inner": [(0, 0), (0, 0.015), (0.01, 0.08)],
        "lip_lower_inner": [(0, 0), (0, 0.015), (0.01, 0.08)],
        "lip_lower_outer": [(0, -0.01), (0, 0.0), (0.01, 0.06)],
    },
    17: {
        "lip_lower_outer": [(0, -0.10), (0, -0.09), (0, -0.04)],
        "lip_lower_inner": [(0, -0.07), (0, -0.06), (0, -0.02)],
        "lip_upper_inner": [(0, -0.07), (0, -0.06), (0, -0.02)],
        "lip_upper_outer": [(0, -0.05), (0, -0.045), (0, -0.02)],
        "corner": (0, 0.02), "contour": [(0, -0.06), (0, -0.05), (0, -0.02)] + [(0, 0)] * 7,
    },
    20: {
        "corner": (0.13, 0.03),
        "lip_upper_outer": [(0, 0.035), (0.04, 0.05), (0.08, 0.03)],
        "lip_upper_inner": [(0, 0), (0.04, 0), (0.08, 0.01)],
        "lip_lower_inner": [(0, 0), (0.04, 0), (0.08, 0.01)],
        "lip_lower_outer": [(0, -0.025), (0.045, -0.02), (0.085, 0.005)],
    },
    23: {
        "corner": (-0.16, 0.0),
        "lip_upper_outer": [(0, 0.02), (-0.03, 0.03), (-0.10, 0.01)],
        "lip_upper_inner": [(0, 0), (-0.05, 0), (-0.10, 0)],
        "lip_lower_inner": [(0, 0), (-0.05, 0), (-0.10, 0)],
        "lip_lower_outer": [(0, -0.02), (-0.04, -0.02), (-0.10, -0.01)],
    },
    24: {
        "lip_upper_outer": [(0, 0.10), (0, 0.11), (0, 0.07)],
        "lip_lower_outer": [(0, -0.145), (0, -0.135), (0, -0.09)],
        "corner": (-0.01, 0.0),
    },
    25: {
        "lip_upper_outer": [(0, -0.025), (0, -0.025), (0, -0.01)],
        "lip_upper_inner": [(0, -0.035), (0, -0.03), (0, -0.015)],
        "lip_lower_inner": [(0, 0.095), (0, 0.085), (0, 0.055)],
        "lip_lower_outer": [(0, 0.08), (0, 0.075), (0, 0.05)],
    },
    26: {
        "contour": [(0, 0.22), (0, 0.21), (0, 0.17), (0, 0.09), (0, 0.02)] + [(0, 0)] * 5,
        "lip_lower_inner": [(0, 0.19), (-0.01, 0.18), (-0.01, 0.12)],
        "lip_lower_outer": [(0, 0.20), (0, 0.19), (-0.01, 0.13)],
        "corner": (-0.04, 0.06), "lip_upper_inner": (-0.01, 0.0), "lip_upper_outer": (-0.01, 0.0),
    },
}  # fmt: skip


def _layout() -> tuple[np.ndarray, dict[str, slice]]:
    points, groups = [], {}
    for name, rows in TEMPLATE.items():
        groups[name] = slice(len(points), len(points) + len(rows))
        points += [row if len(row) == 3 else (*row, depth(*row)) for row in rows]
    return np.array(points, np.float64), groups


def _deltas(tables) -> np.ndarray:
    deltas = np.zeros((len(tables), len(POINTS), 3))
    for i, table in enumerate(tables):
        for name, rows in table.items():
            deltas[i, GROUPS[name], :2] = rows
    return deltas


POINTS, GROUPS = _layout()  # (points, 3) and the rows of each group
MIDLINE = POINTS[:, 0] == 0
IDENTITY_DELTAS = _deltas(IDENTITY_SHAPES.values())  # (identity parameters, points, 3)
ACTION_UNIT_DELTAS = _deltas([ACTION_UNIT_SHAPES[unit] for unit in ACTION_UNITS])  # (16, points, 3)


@functools.cache
def spline(points: int, samples: int, closed: bool = False) -> np.ndarray:
    """Matrix that turns control points into a Catmull-Rom curve through them.

    Args:
        points: number of control points.
        samples: samples per segment.
        closed: whether the last point joins the first.

    Returns:
        Array (curve points, points), to be multiplied with control points (points, 2).
    """
    segments = points if closed else points - 1
    matrix = np.zeros((segments * samples + (not closed), points))
    for row in range(len(matrix)):
        segment = min(row // samples, segments - 1)
        t = row / samples - segment
        weights = ((-t + 2 * t**2 - t**3) / 2, (2 - 5 * t**2 + 3 * t**3) / 2, (t + 4 * t**2 - 3 * t**3) / 2,
                   (t**3 - t**2) / 2)  # fmt: skip
        for offset, weight in zip(range(-1, 3), weights, strict=True):
            index = segment + offset
            matrix[row, index % points if closed else min(max(index, 0), points - 1)] += weight
    return matrix
