"""Which faces an encoder finds alike within one emotion: what EmoCo's features tell beyond the emotion."""

import numpy as np
import tensorflow as tf
from sklearn.preprocessing import normalize

from trainers import probe


def nearest(faces: probe.Faces, x: np.ndarray, count: int = 6) -> list[np.ndarray]:
    """For each emotion a held-out face and its nearest faces of other people in the same emotion.

    Args:
        faces: labels and folds; where no emotion is known, all faces count as one.
        x: `(n, F)` features.
        count: neighbours, at most.

    Returns:
        For each emotion rows: the face itself, then its neighbours, the nearest by cosine first. The face is
        the first of the first fold's test faces that has most action units.
    """
    directions = normalize(x)
    test = faces.folds[0][1]
    found = []
    for emotion in np.unique(faces.emotions[test]):
        candidates = test[faces.emotions[test] == emotion]
        query = candidates[np.argmax((faces.occurrence * faces.coded)[candidates].sum(axis=1))]
        others = np.flatnonzero((faces.emotions == emotion) & (faces.subjects != faces.subjects[query]))
        order = np.argsort(-directions[others] @ directions[query], kind="stable")
        found.append(np.concatenate([[query], others[order[:count]]]))
    return found


def pictures(faces: probe.Faces, rows: np.ndarray) -> dict[int, np.ndarray]:
    """Row -> decoded picture, of some rows."""
    decoded = probe.subset(faces.examples, rows).map(
        lambda row, face: (row, tf.io.decode_image(face["image"], expand_animations=False))
    )
    return {int(row): picture for row, picture in decoded.as_numpy_iterator()}


def caption(faces: probe.Faces, row: int) -> str:
    """The action units of a face: "1 4 12"."""
    present = (faces.occurrence * faces.coded)[row] == 1
    return " ".join(str(unit) for unit, here in zip(faces.action_units, present, strict=True) if here) or "-"
