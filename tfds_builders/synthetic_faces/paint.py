"""Paints the parts of a face as flat colours on a supersampled canvas; light and folds come in `render.py`.

Points are in pixels of the final image; the canvas is `OVERSAMPLING` times as large.
"""

import numpy as np
from PIL import ImageDraw

from tfds_builders.synthetic_faces.faces import Colour, Identity, Shot
from tfds_builders.synthetic_faces.rig import PosedRig
from tfds_builders.synthetic_faces.shapes import spline

OVERSAMPLING = 3

TEETH = (238, 234, 224)
MOUTH = (56, 14, 18)
TONGUE = (142, 58, 62)
SCLERA = (240, 238, 234)
BEARD_DENSITY = {"stubble": 0.25, "moustache": 0.8, "full": 0.75}

_ANGLES = np.arange(20) * (2 * np.pi / 20)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


class Brush:
    """Fills curves on an RGBX canvas; X is coverage."""

    def __init__(self, canvas):
        self._draw = ImageDraw.Draw(canvas)

    def fill(self, points: np.ndarray, colour: Colour) -> None:
        """Fills the polygon through points (n, 2)."""
        self._draw.polygon((points * OVERSAMPLING).ravel().tolist(), fill=_rgba(colour))

    def dot(self, centre: np.ndarray, radius: float, colour: Colour) -> None:
        """Fills a circle."""
        x, y = (centre * OVERSAMPLING).tolist()
        r = radius * OVERSAMPLING
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=_rgba(colour))

    def line(self, points: np.ndarray, width: float, colour: Colour) -> None:
        """Draws a line of even width, in pixels of the final image."""
        self._draw.line(
            (points * OVERSAMPLING).ravel().tolist(),
            _rgba(colour),
            max(1, round(width * OVERSAMPLING)),
            "curve",
        )

    def taper(self, points: np.ndarray, width: float, colour: Colour, thick: float = 0.5) -> None:
        """Draws a curve that is `width` thick at the share `thick` of its length and thin at its ends."""
        self.fill(ribbon(points[None], np.array([width]), thick)[0], colour)


def ribbon(curves: np.ndarray, widths: np.ndarray, thick: float = 0.5) -> np.ndarray:
    """Outlines of tapered strokes.

    Args:
        curves: (strokes, n, 2).
        widths: (strokes,), the greatest width of each.
        thick: where along the stroke it is widest, 0 to 1.

    Returns:
        Polygons (strokes, 2 n, 2).
    """
    n = curves.shape[1]
    tangent = np.empty_like(curves)
    tangent[:, 1:-1] = curves[:, 2:] - curves[:, :-2]
    tangent[:, 0] = curves[:, 1] - curves[:, 0]
    tangent[:, -1] = curves[:, -1] - curves[:, -2]
    t = np.arange(n) / (n - 1)
    profile = np.where(t < thick, t / max(thick, 1e-6), (1 - t) / max(1 - thick, 1e-6)) ** 0.6 * 0.85 + 0.15
    length = np.sqrt((tangent**2).sum(-1)) + 1e-9
    offset = tangent[..., ::-1] * (profile * widths[:, None] / (2 * length))[..., None]
    offset[..., 0] *= -1
    return np.concatenate([curves + offset, (curves - offset)[:, ::-1]], axis=1)


def paint(brush: Brush, rig: PosedRig, identity: Identity, shot: Shot) -> None:
    """Paints the whole person, from back to front."""
    skin, unit = identity.skin, shot.scale
    outline = _outline(rig)
    _hair_behind(brush, rig, identity, unit)
    _bust(brush, identity, shot)
    if identity.hair_style not in ("bob", "long"):
        for side in (0, 1):
            ear = spline(6, 3, closed=True) @ rig.side("ear", side)
            brush.fill(ear, _scale(skin, 0.92))
            brush.fill(ear.mean(0) + (ear - ear.mean(0)) * 0.55, _scale(skin, 0.74))
    brush.fill(outline, skin)
    _beard(brush, rig, identity)
    for side in (0, 1):
        _eye(brush, rig, side, identity, unit)
    _nose(brush, rig, skin, unit)
    _mouth(brush, rig, identity, unit)
    _hair_in_front(brush, rig, identity, unit)
    for side in (0, 1):
        _brow(brush, rig, side, identity)
        if identity.glasses:
            _lens(brush, rig, side, identity.glasses, unit)
    if identity.glasses:
        bridge = np.stack([rig.side("glasses", side)[0] for side in (0, 1)])
        brush.line(bridge, 0.05 * unit, identity.glasses)
    if shot.occlusion:
        _occlusion(brush, rig, identity, shot)


def _rgba(colour: Colour) -> tuple[int, int, int, int]:
    r, g, b = colour
    return (min(int(r), 255), min(int(g), 255), min(int(b), 255), 255)


def _scale(colour: Colour, factor: float) -> Colour:
    return tuple(c * factor for c in colour)


def _blend(first: Colour, second: Colour, share: float) -> Colour:
    return tuple(a + (b - a) * share for a, b in zip(first, second, strict=True))


def _outline(rig: PosedRig) -> np.ndarray:
    contour = rig.across("contour")  # begins and ends at the crown
    return spline(len(contour) - 1, 4, closed=True) @ contour[:-1]


def _hair_behind(brush: Brush, rig: PosedRig, identity: Identity, unit: float) -> None:
    style, colour = identity.hair_style, _scale(identity.hair, 0.7)
    top = rig.across("hair_outer")
    if style in ("bob", "long"):
        rows = (0, 1, 2, 5) if style == "bob" else (0, 1, 2, 3, 4)
        left, right = (rig.side("hair_back", side)[rows, :] for side in (0, 1))
        brush.fill(
            spline(9 + 2 * len(rows), 3, closed=True) @ np.concatenate([left[::-1], top, right]), colour
        )
    if style == "curly":
        for point in spline(len(top), 2) @ top:
            brush.dot(point, 0.24 * unit, colour)
    if style == "bun":
        brush.dot(top[len(top) // 2] - (0, 0.12 * unit), 0.33 * unit, colour)


def _bust(brush: Brush, identity: Identity, shot: Shot) -> None:
    x, _ = shot.centre
    s = shot.scale
    y = shot.centre[1] + 1.0 * s
    neck = np.array([(-0.52, -0.4), (0.52, -0.4), (0.54, 0.9), (-0.54, 0.9)]) * s + (x, y)
    brush.fill(neck, _scale(identity.skin, 0.8))
    right = [(0.58, 0.42), (1.2, 0.55), (1.8, 0.9), (1.9, 2)]
    shoulders = np.array([(0, 0.62), *right, *[(-x, y) for x, y in right[::-1]]])
    brush.fill(spline(9, 3, closed=True) @ (shoulders * s + (x, y)), shot.clothes)


def _beard(brush: Brush, rig: PosedRig, identity: Identity) -> None:
    if not identity.beard:
        return
    colour = _blend(identity.skin, _scale(identity.hair, 0.9), BEARD_DENSITY[identity.beard])
    if identity.beard != "moustache":
        jaw = rig.across("contour")[4:-4]
        lip = spline(7, 2) @ rig.lip("lower_outer")
        right, left = (lip[end] * 0.75 + jaw[end] * 0.25 for end in (-1, 0))
        border = [lip[-1] * 0.35 + jaw[-1] * 0.65, right], [left, lip[0] * 0.35 + jaw[0] * 0.65]
        brush.fill(np.concatenate([spline(len(jaw), 3) @ jaw, border[0], lip[::-1], border[1]]), colour)
    lip = spline(7, 3) @ rig.lip("upper_outer")
    nose = (rig.side("nose_wing", 0)[-1] + rig.side("nose_wing", 1)[-1]) / 2
    height = (1 - np.linspace(-1, 1, len(lip)) ** 4)[:, None] * 0.75
    brush.fill(np.concatenate([lip, (lip + (nose - lip[len(lip) // 2]) * height)[::-1]]), colour)


def _eye(brush: Brush, rig: PosedRig, side: int, identity: Identity, unit: float) -> None:
    upper, lower = rig.eye(side)
    crease = spline(5, 3) @ rig.side("crease", side)
    brush.fill(np.concatenate([upper, crease[::-1]]), _scale(identity.skin, 0.9))
    brush.fill(np.concatenate([upper, lower[::-1]]), SCLERA)
    centre = rig.side("iris", side)[0]
    order = np.argsort(upper[:, 0])
    ux, uy, lx, ly = upper[order, 0], upper[order, 1], lower[order, 0], lower[order, 1]
    for radius, colour in (
        (0.108, _scale(identity.iris, 0.6)),
        (0.088, identity.iris),
        (0.048, (14, 12, 14)),
    ):
        disc = centre + _CIRCLE * (radius * unit)
        disc[:, 1] = np.clip(disc[:, 1], np.interp(disc[:, 0], ux, uy), np.interp(disc[:, 0], lx, ly))
        brush.fill(disc, colour)
    glint = centre - np.array([0.03, 0.04]) * unit
    if np.interp(glint[0], ux, uy) < glint[1] - 0.02 * unit:
        brush.dot(glint, 0.024 * unit, (255, 255, 255))
    lash = _blend(identity.hair, (20, 16, 18), 0.7)
    brush.taper(upper, 0.052 * unit, lash, 0.65)
    brush.taper(lower, 0.022 * unit, _blend(identity.skin, lash, 0.6), 0.7)
    brush.taper(crease, 0.024 * unit, _scale(identity.skin, 0.66))


def _brow(brush: Brush, rig: PosedRig, side: int, identity: Identity) -> None:
    upper, lower = (spline(4, 4) @ rig.side(f"brow_{edge}", side) for edge in ("upper", "lower"))
    hair = _blend(_scale(identity.hair, 0.52), identity.skin, 0.05)
    brush.fill(np.concatenate([upper, lower[::-1]]), hair)


def _nose(brush: Brush, rig: PosedRig, skin: Colour, unit: float) -> None:
    for side in (0, 1):
        wing = spline(4, 3) @ rig.side("nose_wing", side)
        brush.taper(wing, 0.034 * unit, _scale(skin, 0.62), 0.6)
        brush.dot(rig.side("nostril", side)[0], 0.038 * unit, _scale(skin, 0.34))
    left, right = (rig.side("nostril", side)[0] for side in (0, 1))
    base = np.stack([left, (left + right) / 2 + (0, 0.045 * unit), right])
    brush.taper(spline(3, 4) @ base, 0.026 * unit, _scale(skin, 0.68))


def _mouth(brush: Brush, rig: PosedRig, identity: Identity, unit: float) -> None:
    outer, top, bottom, below = rig.lips()
    if rig.parted:
        brush.fill(np.concatenate([top, bottom[::-1]]), MOUTH)
        gap = bottom[:, 1] - top[:, 1]
        middle = 1 - np.linspace(-1, 1, len(gap)) ** 4
        teeth = top.copy()
        teeth[:, 1] += np.minimum(gap, 0.08 * unit) * middle
        brush.fill(np.concatenate([top, teeth[::-1]]), TEETH)
        tongue = bottom.copy()
        tongue[:, 1] -= np.maximum(gap - 0.17 * unit, 0) * 0.5 * middle
        brush.fill(np.concatenate([tongue, bottom[::-1]]), TONGUE)
    brush.fill(np.concatenate([outer, top[::-1]]), _scale(identity.lips, 0.86))
    brush.fill(np.concatenate([bottom, below[::-1]]), identity.lips)
    width, shade = (0.016, 0.5) if rig.parted else (0.036, 0.36)
    brush.taper(top, width * unit, _scale(identity.lips, shade))


def _hair_in_front(brush: Brush, rig: PosedRig, identity: Identity, unit: float) -> None:
    style = identity.hair_style
    if style == "bald":
        return
    outer, line = rig.across("hair_outer"), rig.across("hairline").copy()
    lift = {"receding": 0.2, "crop": 0.06, "fringe": -0.2}.get(style, 0.0) * unit
    middle = np.array([0, 0.2, 0.7, 1, 1, 1, 0.7, 0.2, 0])
    slant = np.array([0, 0.3, 1, 0.8, 0, -0.8, -1, -0.3, 0]) * identity.parting
    line[:, 1] -= middle * lift + slant * (0.13 if style in ("side", "bob", "long") else 0.03) * unit
    if style == "crop":
        outer = line + (outer - line) * 0.75
    line[:4, 0] = np.maximum(line[:4, 0], outer[:4, 0] + 0.02 * unit)  # a turned head hides one temple
    line[5:, 0] = np.minimum(line[5:, 0], outer[5:, 0] - 0.02 * unit)
    outer, line = spline(9, 4) @ outer, spline(9, 4) @ line
    brush.fill(np.concatenate([outer, line[::-1]]), identity.hair)
    for i in range(6, len(line) - 6, 3):
        strand = np.stack([outer[i], (outer[i] * 0.4 + line[i] * 0.6) + (0.05 * unit, 0), line[i]])
        brush.taper(spline(3, 3) @ strand, 0.05 * unit, _scale(identity.hair, 1.22 if i % 2 else 0.78), 0.4)


def _lens(brush: Brush, rig: PosedRig, side: int, colour: Colour, unit: float) -> None:
    frame = spline(8, 3, closed=True) @ rig.side("glasses", side)
    brush.line(np.concatenate([frame, frame[:2]]), 0.042 * unit, colour)
    brush.line(np.stack([rig.side("glasses", side)[3], rig.side("ear", side)[0]]), 0.04 * unit, colour)


def _occlusion(brush: Brush, rig: PosedRig, identity: Identity, shot: Shot) -> None:
    side, unit = shot.occlusion_side, shot.scale
    sign = 2 * side - 1
    corner = rig.side("contour", side)[3]
    if shot.occlusion == "hand":
        skin = identity.skin
        brush.dot(corner + np.array([sign * 0.28, 0.62]) * unit, 0.42 * unit, _scale(skin, 0.85))
        tips = ((0.02, -0.50), (-0.10, -0.26), (-0.17, -0.02), (-0.20, 0.20))
        for finger, (reach, rise) in enumerate(tips):
            root = corner + np.array([sign * (0.42 - 0.1 * finger), 0.55]) * unit
            tip = corner + np.array([sign * reach, rise]) * unit
            for width, shade in ((0.20, 0.66), (0.16, 0.94)):
                brush.line(np.stack([root, tip]), width * unit, _scale(skin, shade))
                brush.dot(tip, width / 2 * unit, _scale(skin, shade))
    elif shot.occlusion == "microphone":
        head = (corner * 0.45 + rig.side("lip_lower_outer", side)[2] * 0.55) + np.array([0, 0.25 * unit])
        brush.line(np.stack([head, head + np.array([sign * 0.25, 1.2]) * unit]), 0.13 * unit, (30, 30, 34))
        brush.dot(head, 0.19 * unit, (52, 52, 58))
        brush.dot(head - 0.05 * unit, 0.09 * unit, (92, 92, 98))
    else:
        start = rig.side("hairline", side)[2]
        end = rig.side("contour", side)[4]
        strand = np.stack([start, (start + end) / 2 + (-sign * 0.10 * unit, 0), end])
        brush.taper(spline(3, 5) @ strand, 0.16 * unit, identity.hair, 0.3)
