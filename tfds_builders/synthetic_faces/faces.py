"""Who is in the picture and how it was taken: sampling of people and photographs as plain parameters.

Nothing is drawn here; `render.py` turns a `Face` into pixels.
"""

import dataclasses

from tfds_builders.synthetic_faces.dice import Dice
from tfds_builders.synthetic_faces.expressions import AFFECTNET_COUNTS, EXPRESSIONS, sample_intensities
from tfds_builders.synthetic_faces.shapes import ACTION_UNITS, IDENTITY_SHAPES

SEED = 20211215

Colour = tuple[float, float, float]

SKINS = (
    (240, 204, 180),
    (232, 190, 162),
    (222, 174, 144),
    (206, 154, 120),
    (178, 124, 90),
    (144, 96, 68),
    (112, 74, 54),
)
HAIRS = (
    (38, 32, 32),
    (62, 44, 36),
    (96, 66, 46),
    (134, 94, 60),
    (186, 150, 98),
    (140, 70, 44),
    (160, 158, 156),
)
IRISES = ((74, 48, 32), (98, 66, 38), (110, 112, 64), (74, 112, 130), (88, 122, 100), (110, 120, 130))
GLASSES = ((34, 34, 38), (96, 62, 40), (150, 154, 160), (120, 34, 46))
HAIR_STYLES = ("short", "crop", "side", "bob", "long", "curly", "bun", "fringe", "receding", "bald")


@dataclasses.dataclass(frozen=True)
class Identity:
    """A person. Colours are RGB from 0 to 255."""

    shape: tuple[float, ...]  # in the order of IDENTITY_SHAPES, about -1.5 to 1.5
    skin: Colour
    lips: Colour
    hair: Colour
    iris: Colour
    hair_style: str
    parting: float  # -1 (hairline higher on the image left) to 1
    beard: str  # "", "stubble", "moustache" or "full"
    glasses: Colour | None
    age: float  # 0 (no line at rest) to 1
    expressiveness: float  # factor of every blend shape
    asymmetry: float  # image-right side stronger by this share, image-left side weaker


@dataclasses.dataclass(frozen=True)
class Shot:
    """A photograph. Angles are in degrees, lengths in pixels of a 128 x 128 image, colours RGB 0 to 255."""

    yaw: float  # > 0 turns the nose to the image right
    pitch: float  # > 0 nods
    roll: float  # > 0 turns clockwise
    scale: float  # pixels in one face unit
    centre: tuple[float, float]
    gaze: tuple[float, float]  # shift of the iris in face units
    light: tuple[float, float]  # direction the light comes from: x, y (up is negative)
    contrast: float  # 0 (flat light) to 1 (no ambient light)
    exposure: float
    tint: Colour  # factors
    background: tuple[Colour, ...]  # 9 colours of a 3 x 3 grid
    clothes: Colour
    occlusion: str  # "", "hand", "microphone" or "strand"
    occlusion_side: int  # 0 image left, 1 image right
    noise: float  # standard deviation in grey levels
    quality: int  # of the JPEG


@dataclasses.dataclass(frozen=True)
class Face:
    """Everything about one image of the data set."""

    subject: int
    index: int
    identity: Identity
    shot: Shot
    expression: str
    intensities: tuple[int, ...]  # 0 to 5 in the order of ACTION_UNITS


def sample_identity(subject: int) -> Identity:
    """Draws a person; the same number is always the same person."""
    dice = Dice(SEED, subject + 1)
    shape = tuple(dice.bell(0, 0.6) for _ in IDENTITY_SHAPES)
    tone = dice.uniform(0, len(SKINS) - 1.001)
    skin = _mix(SKINS[int(tone)], SKINS[int(tone) + 1], tone - int(tone))
    lips = _mix((skin[0] * 0.82, skin[1] * 0.58, skin[2] * 0.56), (176, 44, 58), dice.uniform(0, 0.4))
    style = HAIR_STYLES[dice.pick((16, 12, 14, 12, 14, 8, 6, 6, 7, 5))]
    can_have_beard = style in ("short", "crop", "side", "curly", "receding", "bald")
    return Identity(
        shape=shape,
        skin=skin,
        lips=lips,
        hair=_mix(
            HAIRS[dice.pick((26, 24, 18, 12, 8, 5, 7))],
            HAIRS[dice.pick((1,) * len(HAIRS))],
            dice.uniform(0, 0.3),
        ),
        iris=IRISES[dice.pick((30, 24, 12, 16, 10, 8))],
        hair_style=style,
        parting=dice.uniform(-1, 1),
        beard=("", "stubble", "moustache", "full")[dice.pick((60, 20, 10, 10))] if can_have_beard else "",
        glasses=GLASSES[dice.pick((5, 3, 3, 1))] if dice.chance(0.14) else None,
        age=dice.uniform(0, 1) * dice.uniform(0.2, 1),
        expressiveness=dice.uniform(0.88, 1.12),
        asymmetry=dice.bell(0, 0.05),
    )


def sample_shot(dice: Dice) -> Shot:
    """Draws a photograph: pose, framing, light, background, occlusion and noise."""
    grey = dice.uniform(50, 215)
    backdrop = [grey + dice.bell(0, 18) for _ in range(3)]
    light = (dice.bell(0, 0.45), dice.uniform(-0.75, -0.15))
    warmth = dice.uniform(-0.015, 0.05)
    return Shot(
        yaw=dice.bell(0, 7),
        pitch=dice.bell(0, 5),
        roll=dice.bell(0, 4.5),
        scale=dice.uniform(42, 46),
        centre=(64 + dice.bell(0, 2), 63 + dice.bell(0, 2)),
        gaze=(dice.bell(0, 0.02), dice.bell(0, 0.008)),
        light=light,
        contrast=dice.uniform(0.35, 0.62),
        exposure=dice.uniform(0.84, 1.06),
        tint=(1 + warmth, 1.0, 1 - warmth),
        background=tuple(
            tuple(c + shade for c in backdrop) for shade in [dice.uniform(-40, 40) for _ in range(9)]
        ),
        clothes=(dice.uniform(25, 220), dice.uniform(25, 220), dice.uniform(25, 220)),
        occlusion=("", "hand", "microphone", "strand")[dice.pick((91, 3, 3, 3))],
        occlusion_side=dice.pick((1, 1)),
        noise=dice.uniform(0.5, 3.5),
        quality=int(dice.uniform(78, 96)),
    )


def sample_face(subject: int, index: int) -> Face:
    """Draws image `index` of person `subject`.

    Expressions come in AffectNet's proportions, so `surprise`, `fear` and `disgust` are rare.
    """
    dice = Dice(SEED, subject + 1, index + 1)
    expression = EXPRESSIONS[dice.pick(AFFECTNET_COUNTS)]
    return Face(
        subject=subject,
        index=index,
        identity=sample_identity(subject),
        expression=expression,
        intensities=sample_intensities(expression, dice),
        shot=sample_shot(dice),
    )


def plain_face(subject: int, intensities: dict[int, int]) -> Face:
    """Person `subject` in front view under frontal light, with the action units given.

    For looking at single action units. Age lines, glasses and beard stay the person's own.

    Raises:
        ValueError: an action unit is not one of `ACTION_UNITS`, or an intensity not in 0 to 5.
    """
    for unit, intensity in intensities.items():
        if unit not in ACTION_UNITS or not 0 <= intensity <= 5:
            raise ValueError(
                f"expected action units of {ACTION_UNITS} at intensities 0 to 5; got AU {unit} at {intensity}"
            )
    shot = Shot(
        yaw=0.0,
        pitch=0.0,
        roll=0.0,
        scale=44.0,
        centre=(64.0, 63.0),
        gaze=(0.0, 0.0),
        light=(-0.25, -0.45),
        contrast=0.5,
        exposure=0.95,
        tint=(1.0, 1.0, 1.0),
        background=((150.0, 160.0, 170.0),) * 9,
        clothes=(70.0, 90.0, 120.0),
        occlusion="",
        occlusion_side=0,
        noise=0.0,
        quality=95,
    )
    return Face(
        subject,
        0,
        sample_identity(subject),
        shot,
        "neutral",
        tuple(intensities.get(u, 0) for u in ACTION_UNITS),
    )


def _mix(first: Colour, second: Colour, share: float) -> Colour:
    return tuple(a + (b - a) * share for a, b in zip(first, second, strict=True))
