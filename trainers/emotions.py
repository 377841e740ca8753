"""Which emotions the frozen features tell apart, and which they take for another."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from trainers import probe

# Inverse strength of the L2 penalty. Fixed: the matrix is looked at, and no result is claimed from it.
PENALTY = 1e-2


def confusion(faces: probe.Faces, x: np.ndarray) -> tuple[list[str], np.ndarray] | None:
    """What a linear classifier of the features takes each emotion for, on the test faces of all folds.

    Args:
        faces: labels and folds; faces without an emotion are left out.
        x: `(n, F)` features.

    Returns:
        The names of the `E` emotions, and `(E, E)` counts, rows the true emotion, columns the predicted;
        None where a fold has no two emotions to learn from.
    """
    names = sorted({str(name) for name in faces.emotions if name})
    counts = np.zeros((len(names), len(names)), int)
    for train, test in faces.folds:
        train, test = (rows[faces.emotions[rows] != ""] for rows in (train, test))
        if len(np.unique(faces.emotions[train])) < 2:
            return None
        if len(test) == 0:
            continue
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY, max_iter=1000))
        with threadpool_limits(1):
            predicted = classifier.fit(x[train], faces.emotions[train]).predict(x[test])
        counts += confusion_matrix(faces.emotions[test], predicted, labels=names)
    return names, counts
