"""From an expression to the intensities of its action units: a table of EMFACS prototypes and its sampler.

The coding of the expressions and their shares are those of AffectNet's seven classes.
"""

from tfds_builders.synthetic_faces.dice import Dice
from tfds_builders.synthetic_faces.shapes import ACTION_UNITS

EXPRESSIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")

# Training images of the seven classes in AffectNet (Mollahosseini et al., 2017, manually annotated set).
AFFECTNET_COUNTS = (74874, 134415, 25459, 14090, 6378, 3803, 24882)

# Combinations after EMFACS (Ekman, Irwin and Rosenberg, 1994) and the emotion predictions of the FACS
# Investigator's Guide (2002), limited to the action units drawn here: AU 16 of disgust and AU 27 of surprise
# and fear are left out. Each line is (share, action units); the shares are ours.
PROTOTYPES = {
    "neutral": ((1.0, ()),),
    "happy": (
        (0.30, (6, 12, 25)),
        (0.18, (6, 12)),
        (0.14, (12, 25)),
        (0.12, (12,)),
        (0.18, (6, 12, 25, 26)),
        (0.08, (6, 7, 12, 25)),
    ),
    "sad": (
        (0.30, (1, 4, 15)),
        (0.20, (1, 4, 15, 17)),
        (0.18, (1, 4)),
        (0.12, (1, 15)),
        (0.10, (6, 15)),
        (0.10, (4, 17)),
    ),
    "surprise": ((0.45, (1, 2, 5, 25, 26)), (0.20, (1, 2, 5)), (0.20, (1, 2, 25, 26)), (0.15, (5, 25, 26))),
    "fear": (
        (0.30, (1, 2, 4, 5, 7, 20, 25, 26)),
        (0.25, (1, 2, 4, 5, 20, 25)),
        (0.20, (1, 2, 4, 5)),
        (0.15, (5, 20, 25)),
        (0.10, (1, 4, 5, 7)),
    ),
    "disgust": ((0.30, (9, 15, 17)), (0.25, (9, 10, 25)), (0.25, (10, 17)), (0.20, (4, 9, 10))),
    "anger": (
        (0.25, (4, 5, 7, 23)),
        (0.20, (4, 5, 7, 24)),
        (0.20, (4, 7, 17, 23)),
        (0.15, (4, 7, 17, 24)),
        (0.20, (4, 5, 7, 10, 23, 25)),
    ),
}

# A member of the prototype is missing this often.
MISSING = 0.15

# How often an action unit outside the prototype joins in, for reasons other than emotion: speech, effort,
# habit.
EXTRA = {
    1: 0.10, 2: 0.11, 4: 0.09, 5: 0.09, 6: 0.08, 7: 0.10, 9: 0.12, 10: 0.12, 12: 0.10, 15: 0.10, 17: 0.10,
    20: 0.16, 23: 0.11, 24: 0.19, 25: 0.15, 26: 0.07,
}  # fmt: skip

# Share of neutral faces that are perfectly still; what the others show is faint.
STILL = 0.55

# Shares of intensities 1 (trace) to 5 (maximum) of an extra action unit.
EXTRA_INTENSITIES = (0.12, 0.33, 0.33, 0.17, 0.05)
NEUTRAL_INTENSITIES = (0.20, 0.50, 0.30)

# Pairs that do not go together: lips pressed on each other do not part, stretch or rise, and corners are not
# drawn in and out at once. Of two such, the one outside the prototype goes, else the second.
CONFLICTS = ((24, 25), (24, 26), (24, 23), (24, 20), (24, 10), (20, 23), (15, 20))


def sample_intensities(expression: str, dice: Dice) -> tuple[int, ...]:
    """Draws the intensities of all action units for one face.

    One strength is drawn for the face; the members of its prototype scatter about it, so that two faces of
    one expression differ in which action units they show and how strongly.

    Args:
        expression: one of `EXPRESSIONS`.
        dice: source of randomness.

    Returns:
        Intensities 0 to 5 in the order of `ACTION_UNITS`.
    """
    prototypes = PROTOTYPES[expression]
    prototype = prototypes[dice.pick([share for share, _ in prototypes])][1]
    strength = dice.uniform(2.0, 4.6)
    intensity = dict.fromkeys(ACTION_UNITS, 0)
    if expression == "neutral" and dice.chance(STILL):
        return tuple(intensity.values())
    extra_intensities = NEUTRAL_INTENSITIES if expression == "neutral" else EXTRA_INTENSITIES
    for unit in ACTION_UNITS:
        if unit in prototype:
            if not dice.chance(MISSING):
                intensity[unit] = min(max(int(dice.bell(strength, 0.7) + 0.5), 1), 5)
        elif dice.chance(EXTRA[unit]):
            intensity[unit] = 1 + dice.pick(extra_intensities)
    for first, second in CONFLICTS:
        if intensity[first] and intensity[second]:
            loser = first if second in prototype and first not in prototype else second
            intensity[loser] = 0
    # A jaw drop is only visible as parted lips here, so AU 26 brings AU 25 along (FACS scores both then).
    if intensity[26]:
        intensity[25] = max(intensity[25], 2)
    return tuple(intensity[unit] for unit in ACTION_UNITS)
