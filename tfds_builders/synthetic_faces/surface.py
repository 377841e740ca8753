"""What happens in the skin itself: the relief that catches the light, and the folds that action units cut.

Two tables in the face units of `shapes.py` (image-right half, mirrored for the other). The first column of
numbers is the resting value, the dictionary says what full strength of an action unit adds.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from tfds_builders.synthetic_faces.shapes import (
    ACTION_UNIT_DELTAS,
    ACTION_UNITS,
    GROUPS,
    IDENTITY_DELTAS,
    POINTS,
    TEMPLATE,
    depth,
)


class Bump(NamedTuple):
    """A Gaussian hill (height > 0) or hollow of the face."""

    centre: tuple[float, float]
    sigma: tuple[float, float]
    height: float
    units: Mapping[int, float] = MappingProxyType({})


class Fold(NamedTuple):
    """A furrow through four points; darkness 1 is black, `age` what the oldest face shows at rest."""

    points: tuple[tuple[float, float], ...]
    width: float
    age: float
    units: dict[int, float]


BUMPS = (
    Bump((0.00, -0.05), (0.055, 0.20), 0.060),  # nose bridge
    Bump((0.00, 0.25), (0.085, 0.085), 0.090),  # nose tip
    Bump((0.15, 0.27), (0.050, 0.055), 0.030, {9: 0.020, 10: 0.010}),  # nose wing
    Bump((0.16, -0.12), (0.075, 0.10), -0.045),  # inner eye socket
    Bump((0.40, -0.36), (0.22, 0.07), 0.030, {4: 0.015}),  # brow ridge
    Bump((0.39, -0.22), (0.20, 0.055), -0.025),  # upper eye socket
    Bump((0.00, -0.42), (0.075, 0.08), 0.005, {4: 0.075, 9: 0.02}),  # glabella, bunched up by AU 4
    Bump((0.37, 0.065), (0.15, 0.032), 0.004, {7: 0.030, 6: 0.010}),  # lower lid pouch
    Bump((0.56, 0.24), (0.17, 0.13), 0.025, {6: 0.130, 12: 0.045}),  # cheek
    Bump((0.66, 0.02), (0.11, 0.07), 0.010, {6: 0.035}),  # cheekbone
    Bump((0.27, 0.22), (0.06, 0.08), 0.0, {10: 0.070, 9: 0.030}),  # infraorbital triangle
    Bump((0.00, 0.46), (0.035, 0.06), -0.020),  # philtrum
    Bump((0.12, 0.47), (0.10, 0.06), 0.012, {24: 0.060}),  # skin above the lip
    Bump((0.12, 0.68), (0.16, 0.06), 0.018),  # lips
    Bump((0.05, 0.66), (0.10, 0.08), 0.0, {23: 0.060}),  # lips bunched up by AU 23
    Bump((0.15, 0.83), (0.13, 0.05), -0.020, {24: 0.080, 17: -0.03}),  # skin below the lip
    Bump((0.00, 1.06), (0.16, 0.12), 0.045, {17: 0.110, 26: 0.0}),  # chin boss
    Bump((0.47, 0.80), (0.08, 0.10), 0.0, {15: 0.060}),  # pouch below the lip corner
    Bump((0.62, 0.62), (0.09, 0.16), 0.0, {20: 0.060}),  # cheek pulled back by AU 20
)

FOLDS = (
    # AU 1: arched lines in the middle of the forehead.
    Fold(((0, -0.70), (0.11, -0.70), (0.21, -0.67), (0.30, -0.62)), 0.030, 0.10, {1: 0.42}),
    Fold(((0, -0.79), (0.12, -0.79), (0.23, -0.76), (0.33, -0.71)), 0.030, 0.12, {1: 0.42}),
    Fold(((0, -0.88), (0.11, -0.88), (0.20, -0.86), (0.28, -0.82)), 0.026, 0.10, {1: 0.34}),
    # AU 2: arcs above the outer brow.
    Fold(((0.38, -0.70), (0.49, -0.75), (0.61, -0.74), (0.74, -0.66)), 0.030, 0.05, {2: 0.44}),
    Fold(((0.39, -0.79), (0.49, -0.83), (0.61, -0.82), (0.72, -0.75)), 0.028, 0.05, {2: 0.38}),
    # AU 4: vertical lines between the brows.
    Fold(((0.06, -0.54), (0.075, -0.46), (0.07, -0.38), (0.05, -0.29)), 0.034, 0.08, {4: 0.55, 9: 0.08}),
    Fold(((0.15, -0.60), (0.15, -0.55), (0.14, -0.50), (0.12, -0.45)), 0.024, 0.0, {4: 0.30}),
    # AU 6: crow's feet and the furrow that the raised cheek cuts below the eye.
    Fold(((0.66, -0.13), (0.72, -0.17), (0.79, -0.21), (0.85, -0.26)), 0.026, 0.10, {6: 0.46}),
    Fold(((0.67, -0.09), (0.74, -0.09), (0.81, -0.10), (0.87, -0.11)), 0.026, 0.10, {6: 0.46}),
    Fold(((0.66, -0.04), (0.72, -0.01), (0.78, 0.02), (0.84, 0.05)), 0.026, 0.08, {6: 0.44}),
    Fold(((0.20, 0.09), (0.33, 0.165), (0.48, 0.165), (0.63, 0.06)), 0.034, 0.12, {6: 0.42}),
    # AU 7: the line of the tightened lower lid.
    Fold(((0.21, -0.005), (0.31, 0.055), (0.45, 0.06), (0.57, 0.00)), 0.032, 0.05, {7: 0.56}),
    # AU 9: wrinkles across the root and along the sides of the nose.
    Fold(((0, -0.22), (0.05, -0.21), (0.09, -0.19), (0.12, -0.16)), 0.036, 0.02, {9: 0.60}),
    Fold(((0, -0.13), (0.05, -0.12), (0.10, -0.10), (0.14, -0.06)), 0.038, 0.0, {9: 0.64}),
    Fold(((0, -0.04), (0.05, -0.03), (0.10, -0.01), (0.14, 0.03)), 0.036, 0.0, {9: 0.60}),
    Fold(((0.13, 0.00), (0.18, 0.04), (0.23, 0.10), (0.26, 0.17)), 0.036, 0.0, {9: 0.52}),
    # AU 10: the upper end of the nasolabial fold, bent round the nose wing.
    Fold(
        ((0.21, 0.14), (0.27, 0.19), (0.31, 0.27), (0.33, 0.37)), 0.042, 0.06, {10: 0.64, 9: 0.10, 12: 0.08}
    ),
    # AU 12: the nasolabial fold pushed out and round.
    Fold(((0.25, 0.26), (0.33, 0.38), (0.40, 0.49), (0.44, 0.62)), 0.034, 0.26, {}),
    Fold(((0.29, 0.27), (0.43, 0.35), (0.53, 0.48), (0.55, 0.66)), 0.038, 0.0, {12: 0.48}),
    # AU 15: lines below the lip corners.
    Fold(((0.42, 0.70), (0.47, 0.82), (0.50, 0.93), (0.50, 1.03)), 0.036, 0.10, {15: 0.52}),
    # AU 17: the arch over the chin boss, and its dimples.
    Fold(((0, 0.875), (0.10, 0.885), (0.19, 0.93), (0.25, 1.01)), 0.036, 0.06, {17: 0.50}),
    Fold(((0.04, 0.97), (0.05, 0.99), (0.055, 1.01), (0.05, 1.03)), 0.036, 0.0, {17: 0.46}),
    Fold(((0.14, 1.00), (0.15, 1.02), (0.15, 1.04), (0.14, 1.06)), 0.036, 0.0, {17: 0.46}),
    Fold(((0.07, 1.08), (0.08, 1.10), (0.08, 1.12), (0.07, 1.14)), 0.036, 0.0, {17: 0.46}),
    # AU 20: straight brackets beside the stretched mouth.
    Fold(((0.60, 0.52), (0.635, 0.60), (0.635, 0.70), (0.60, 0.79)), 0.032, 0.0, {20: 0.50}),
    Fold(((0.69, 0.50), (0.725, 0.58), (0.725, 0.68), (0.69, 0.77)), 0.028, 0.0, {20: 0.40}),
    # AU 23: fine vertical lines in and round the narrowed lips.
    Fold(((0.03, 0.53), (0.035, 0.57), (0.035, 0.60), (0.03, 0.63)), 0.024, 0.0, {23: 0.44}),
    Fold(((0.10, 0.53), (0.11, 0.57), (0.11, 0.60), (0.10, 0.63)), 0.024, 0.0, {23: 0.44}),
    Fold(((0.05, 0.66), (0.06, 0.70), (0.06, 0.74), (0.05, 0.77)), 0.024, 0.0, {23: 0.44}),
    Fold(((0.14, 0.66), (0.15, 0.69), (0.16, 0.72), (0.16, 0.75)), 0.024, 0.0, {23: 0.44}),
    Fold(((0.29, 0.55), (0.31, 0.61), (0.31, 0.67), (0.29, 0.73)), 0.030, 0.0, {23: 0.54}),
    Fold(((0.09, 0.42), (0.10, 0.45), (0.10, 0.48), (0.09, 0.51)), 0.026, 0.0, {23: 0.34}),
    Fold(((0.09, 0.80), (0.10, 0.83), (0.10, 0.86), (0.09, 0.89)), 0.026, 0.0, {23: 0.34}),
    # AU 24: the edges of the bulges that pressed lips raise.
    Fold(((0.0, 0.575), (0.12, 0.565), (0.25, 0.585), (0.36, 0.63)), 0.030, 0.0, {24: 0.32}),
    Fold(((0.0, 0.735), (0.12, 0.735), (0.25, 0.71), (0.36, 0.67)), 0.032, 0.0, {24: 0.36}),
    Fold(((0.0, 0.90), (0.10, 0.90), (0.20, 0.875), (0.30, 0.82)), 0.036, 0.05, {24: 0.54}),
)


def _weights(rows: tuple) -> np.ndarray:
    return np.array([[row.units.get(unit, 0.0) for row in rows] for unit in ACTION_UNITS])


BUMP_SIGMAS = np.array([bump.sigma for bump in BUMPS])
BUMP_HEIGHTS = np.array([bump.height for bump in BUMPS])
BUMP_UNITS = _weights(BUMPS)  # (16, bumps)

FOLD_WIDTHS = np.array([fold.width for fold in FOLDS])
FOLD_AGES = np.array([fold.age for fold in FOLDS])
FOLD_UNITS = _weights(FOLDS)  # (16, folds)

SKIN_POINTS = np.array(
    [(*xy, depth(*xy)) for fold in FOLDS for xy in fold.points]
    + [(*b.centre, depth(*b.centre)) for b in BUMPS]
)  # four points of each fold, then the bumps' centres


STATIC = ("ear", "hairline", "hair_outer", "hair_back", "glasses", "iris")


def _follow(reach: float = 0.10, rest: float = 0.4) -> np.ndarray:
    """How much skin points move with rig points: Gaussian weights, fading where no rig point is near.

    Args:
        reach: standard deviation in face units.
        rest: weight of staying in place; a rig point at distance 0 weighs 1.
    """
    moving = np.array([name not in STATIC for name in GROUPS for _ in TEMPLATE[name]])
    distance = np.linalg.norm(SKIN_POINTS[:, None, :2] - POINTS[None, :, :2], axis=-1)
    weights = np.exp(-((distance / reach) ** 2) / 2) * moving
    return weights / (weights.sum(1, keepdims=True) + rest)


FOLLOW = _follow()
SKIN_IDENTITY_DELTAS = FOLLOW @ IDENTITY_DELTAS
SKIN_ACTION_UNIT_DELTAS = FOLLOW @ ACTION_UNIT_DELTAS
