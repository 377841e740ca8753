"""Poses the rig: identity and action-unit strengths move the points, the camera projects them to pixels.

No drawing here.
"""

import dataclasses
import math

import numpy as np

from tfds_builders.synthetic_faces import shapes, surface
from tfds_builders.synthetic_faces.faces import Face

# Share of an action unit's full strength at intensities 0 to 5. A trace (1) is hardly there and slight (2) is
# plain, so that what counts as occurring is told from what does not.
STRENGTH = np.array([0.0, 0.15, 0.58, 0.72, 0.86, 1.0])

_POINTS = np.concatenate([shapes.POINTS, surface.SKIN_POINTS])
_DELTAS = np.concatenate(
    [
        np.concatenate([shapes.IDENTITY_DELTAS, surface.SKIN_IDENTITY_DELTAS], axis=1),
        np.concatenate([shapes.ACTION_UNIT_DELTAS, surface.SKIN_ACTION_UNIT_DELTAS], axis=1),
    ]
).reshape(-1, _POINTS.size)  # (identity parameters + action units, 3 points)
_MIDLINE = _POINTS[:, 0] == 0
_RIG = len(shapes.POINTS)
_FOLDS = 4 * len(surface.FOLDS)
_LIPS = {
    name: np.r_[shapes.GROUPS[f"lip_{name}"], shapes.GROUPS["corner"]]
    for name in ("upper_outer", "upper_inner", "lower_inner", "lower_outer")
}
# Pixels: what is so thick covers at least half of some pixel, wherever it lies.
VISIBLE = 1.0
_PARTED = [shapes.ACTION_UNITS.index(25), shapes.ACTION_UNITS.index(26)]


@dataclasses.dataclass(frozen=True)
class PosedRig:
    """The rig in pixels of the 128 x 128 image; axis 0 is the side: 0 image left, 1 image right."""

    points: np.ndarray  # (2, points, 2)
    folds: np.ndarray  # (2, folds, 4, 2)
    bumps: np.ndarray  # (2, bumps, 2)
    strengths: np.ndarray  # (2, action units), 0 to about 1.2
    parted: bool  # whether the lips are

    def side(self, group: str, side: int) -> np.ndarray:
        """Points of one side, as in the template: (points, 2)."""
        return self.points[side, shapes.GROUPS[group]]

    def across(self, group: str) -> np.ndarray:
        """Points of a group that starts on the midline, from the image left to the image right."""
        left, right = self.points[:, shapes.GROUPS[group]]
        return np.concatenate([left[:0:-1], right])

    def lip(self, name: str) -> np.ndarray:
        """Seven points of a lip contour from the left mouth corner to the right one."""
        left, right = self.points[:, _LIPS[name]]
        return np.concatenate([left[:0:-1], right])

    def eye(self, side: int) -> tuple[np.ndarray, np.ndarray]:
        """The upper and the lower border of an eye's opening, from its inner to its outer corner."""
        inner, outer = self.side("eye_corner", side)
        upper, lower = (
            shapes.spline(5, 4) @ np.concatenate([[inner], self.side(f"lid_{lid}", side), [outer]])
            for lid in ("upper", "lower")
        )
        return upper, lower

    def lips(self) -> tuple[np.ndarray, ...]:
        """The borders of the upper lip, then of the lower, from above: curves from the left to the right."""
        return tuple(shapes.spline(7, 4) @ self.lip(name) for name in _LIPS)


def pose(face: Face) -> PosedRig:
    """Moves the rig into the face's identity, action units and pose."""
    identity, shot = face.identity, face.shot
    side = np.array([[1 - identity.asymmetry], [1 + identity.asymmetry]])
    strengths = STRENGTH[list(face.intensities)] * side * identity.expressiveness
    weights = np.concatenate([np.tile(identity.shape, (2, 1)), strengths], axis=1)
    points = _POINTS + (weights @ _DELTAS).reshape(2, len(_POINTS), 3)
    parted = bool(strengths[:, _PARTED].any())
    _keep_lids_and_lips_apart(points, parted)
    points[:, _MIDLINE] = points[:, _MIDLINE].mean(0)
    points[0, :, 0] *= -1
    points[:, shapes.GROUPS["iris"], :2] += shot.gaze
    pixels = points @ _camera(shot.yaw, shot.pitch, shot.roll) * shot.scale + shot.centre
    return PosedRig(
        points=pixels[:, :_RIG],
        folds=pixels[:, _RIG : _RIG + _FOLDS].reshape(2, -1, 4, 2),
        bumps=pixels[:, _RIG + _FOLDS :],
        strengths=strengths,
        parted=parted,
    )


def landmarks(rig: PosedRig) -> np.ndarray:
    """Eye centres (left, right in the image), nose tip and mouth corners (left, right).

    The eyes' are the centres of their openings, wherever they look. The mouth's are where the lips become
    visible: they taper off, and are drawn thinner than a pixel before their borders meet.

    Returns:
        Array (5, 2) of x and y in pixels; (0, 0) is the outer corner of the top left pixel.
    """
    eyes = [_centroid(np.concatenate([upper, lower[::-1]])) for upper, lower in map(rig.eye, (0, 1))]
    nose = rig.points[1, shapes.GROUPS["nose_tip"]]
    above, *_, below = rig.lips()
    corners = [_visible_end(above[::step], below[::step]) for step in (1, -1)]
    return np.concatenate([eyes, nose, corners]).astype(np.float32)


def _centroid(polygon: np.ndarray) -> np.ndarray:
    """The centre of mass of a polygon (n, 2): of its triangles with the first corner, by their area."""
    start, edges = polygon[0], polygon[1:] - polygon[0]
    area = edges[:-1, 0] * edges[1:, 1] - edges[:-1, 1] * edges[1:, 0]
    return start + area @ (edges[:-1] + edges[1:]) / (3 * area.sum())


def _visible_end(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Where two curves (n, 2) that begin in one point are first `VISIBLE` apart: the middle between them."""
    apart = np.linalg.norm(below - above, axis=1)
    after = int(np.argmax(apart >= VISIBLE))
    share = (VISIBLE - apart[after - 1]) / (apart[after] - apart[after - 1])
    middle = (above + below) / 2
    return middle[after - 1] + share * (middle[after] - middle[after - 1])


def _camera(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Matrix (3, 2): rotation by yaw, pitch, roll (degrees) and orthographic projection, for row vectors."""
    cy, sy = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    cp, sp = math.cos(math.radians(pitch)), math.sin(math.radians(pitch))
    cr, sr = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    tilt = np.array([[cr, -sr], [sr, cr]])
    return (nod @ turn)[:2].T @ tilt.T


def _keep_lids_and_lips_apart(points: np.ndarray, parted: bool) -> None:
    """Where action units add up, lids keep a slit and lips their thickness; closed lips meet (in place)."""
    y = points[:, :, 1]
    upper, lower = y[:, shapes.GROUPS["lid_upper"]], y[:, shapes.GROUPS["lid_lower"]]
    overlap = np.maximum(0, 0.05 - (lower - upper)) / 2
    upper -= overlap
    lower += overlap
    outer, top, bottom, below = (y[:, shapes.GROUPS[f"lip_{name}"]] for name in _LIPS)
    if parted:
        bottom[:] = np.maximum(bottom, top + 0.03)
    else:
        top[:] = bottom[:] = (top + bottom) / 2
    outer[:] = np.minimum(outer, top - 0.018)
    below[:] = np.maximum(below, bottom + 0.022)
