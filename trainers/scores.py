"""Scores of action unit detectors: plain functions of labels, probabilities and folds.

Measuring knows nothing of training, files or figures. Every score is scikit-learn's, on the coded frames.
"""

import numpy as np
from sklearn import metrics
from sklearn.utils.class_weight import compute_sample_weight

SCORES = ("f1", "precision", "recall", "accuracy", "roc_auc", "pr_auc", "f1_norm", "prevalence")


def check_folds(subjects: np.ndarray, folds: list) -> None:
    """Refuse folds that would flatter: a person in training and test, or nobody in the test.

    Args:
        subjects: `(n,)`: who it is.
        folds: list of (training rows, test rows).

    Raises:
        ValueError: a fold leaks a subject, or has no training or no test face.
    """
    for number, (train, test) in enumerate(folds, start=1):
        for name, rows in (("training", train), ("test", test)):
            if len(rows) == 0:
                raise ValueError(
                    f"fold {number} of {len(folds)} has no {name} face: give each fold faces, or leave it out"
                )
        shared = np.intersect1d(subjects[train], subjects[test])
        if len(shared):
            raise ValueError(
                f"fold {number} of {len(folds)} leaks: {len(shared)} subjects are in both training and test, "
                f"{_text(shared[0])!r} for one: split by subject"
            )


def per_fold(labels, probabilities, coded, subjects, folds, thresholds=0.5) -> dict[str, np.ndarray]:
    """Every score of every action unit, pooled over the frames of each test fold.

    A unit is predicted where its probability is above the threshold. What has no answer:

    - A unit that no face of the test fold has coded: NaN for all scores.
    - No positive among the coded faces: `f1`, `precision`, `recall` and `f1_norm` are 0, scikit-learn's
      `zero_division=0`, so a missed fold counts against a detector; both areas are NaN.
    - No negative: `roc_auc` is NaN.

    Args:
        labels: `(n, A)` of 0 and 1; anything where not coded.
        probabilities: one `(len(test rows), A)` for each fold.
        coded: `(n, A)` bool.
        subjects: `(n,)`: who it is.
        folds: list of (training rows, test rows); the same rows may come again, for runs that differ in seed.
        thresholds: number, or `(folds, A)`.

    Returns:
        For each name of `SCORES` `(folds, A)` between 0 and 1. `pr_auc` is average precision, which does
        not interpolate; `f1_norm` is the F1 with negatives weighed down to the weight of the positives
        (Jeni, Cohn, De la Torre, 2013); `prevalence` the share of positives.

    Raises:
        ValueError: folds that leak or are empty, or arrays that do not fit each other.
    """
    check_folds(subjects, folds)
    check_arrays(labels, probabilities, coded, folds)
    units = labels.shape[1]
    thresholds = np.broadcast_to(thresholds, (len(folds), units))
    found = {name: np.full((len(folds), units), np.nan) for name in SCORES}
    for fold, (_, test) in enumerate(folds):
        for unit in range(units):
            rows = coded[test, unit]
            y, p = labels[test, unit][rows], probabilities[fold][rows, unit]
            for name, value in _scores(y, p, thresholds[fold, unit]).items() if rows.any() else ():
                found[name][fold, unit] = value
    return found


def _scores(y, p, threshold):
    predicted = (p > threshold).astype(int)
    balanced = compute_sample_weight("balanced", y)
    return {
        "f1": metrics.f1_score(y, predicted, zero_division=0),
        "precision": metrics.precision_score(y, predicted, zero_division=0),
        "recall": metrics.recall_score(y, predicted, zero_division=0),
        "accuracy": metrics.accuracy_score(y, predicted),
        "roc_auc": metrics.roc_auc_score(y, p) if len(np.unique(y)) == 2 else np.nan,
        "pr_auc": metrics.average_precision_score(y, p) if y.any() else np.nan,
        "f1_norm": metrics.f1_score(y, predicted, zero_division=0, sample_weight=balanced),
        "prevalence": y.mean(),
    }


def mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Mean of what is known; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis) / np.maximum(count, 1), np.nan)


def bootstrap(labels, probabilities, coded, subjects, folds, thresholds=0.5, draws=1000, seed=0):
    """F1 of each unit, mean over folds, on test people drawn again with replacement.

    People, not frames, are drawn, because frames of one person are alike; within each fold, because
    each has its own classifier. Folds with the same test people get the same draw. Two runs on the same
    faces and folds with the same seed get the same draws, so that `compare` can take differences.

    Args:
        labels: as for `per_fold`.
        probabilities: as for `per_fold`.
        coded: as for `per_fold`.
        subjects: as for `per_fold`.
        folds: as for `per_fold`.
        thresholds: as for `per_fold`.
        draws: how many.
        seed: of the draws.

    Returns:
        `(draws, A)` between 0 and 1.
    """
    random = np.random.default_rng(seed)
    thresholds = np.broadcast_to(thresholds, (len(folds), labels.shape[1]))
    weights, f1 = {}, []
    for fold, (_, test) in enumerate(folds):
        people, who = np.unique(subjects[test], return_inverse=True)
        key = tuple(people)
        if key not in weights:
            weights[key] = random.multinomial(len(people), np.full(len(people), 1 / len(people)), size=draws)
        here, present = coded[test], labels[test] == 1
        predicted = probabilities[fold] > thresholds[fold]

        # F1 = 2 TP / (2 TP + FP + FN): from each person's counts a draw costs one product, not a pass.
        hits = weights[key] @ _sums(here & present & predicted, who)
        wrong = weights[key] @ _sums(here & (present != predicted), who)
        score = np.divide(2 * hits, 2 * hits + wrong, out=np.zeros_like(hits), where=2 * hits + wrong > 0)
        f1.append(np.where(here.any(axis=0), score, np.nan))
    return mean(np.stack(f1), axis=0)


def _sums(frames, who):
    """`(people, A)`: how many frames of each person are true."""
    sums = np.zeros((who.max() + 1, frames.shape[1]))
    np.add.at(sums, who, frames)
    return sums


def interval(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95% percentile interval over the first axis."""
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return low, high


def compare(one: np.ndarray, two: np.ndarray) -> dict[str, float]:
    """Paired bootstrap of the average F1 of two runs on the same faces and folds.

    Args:
        one: `(draws, A)` of `bootstrap`.
        two: the same of the other run, with the same seed.

    Returns:
        `difference`, the mean of `one - two`; its 95% interval `low`, `high`; `p`, two-sided: twice the
        smaller share of the draws on either side of no difference.

    Raises:
        ValueError: the shapes differ.
    """
    if one.shape != two.shape:
        raise ValueError(f"runs to compare must have the same draws and units; got {one.shape}, {two.shape}")
    difference = mean(one, axis=1) - mean(two, axis=1)
    low, high = interval(difference)
    tail = min((difference <= 0).mean(), (difference >= 0).mean())
    return {
        "difference": float(difference.mean()),
        "low": float(low),
        "high": float(high),
        "p": float(min(1.0, 2 * tail)),
    }


def best_threshold(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The threshold with the best F1 on these faces, which must not be those of a test fold.

    Args:
        labels: `(n,)` of 0 and 1, coded faces alone.
        probabilities: `(n,)`.

    Returns:
        A number halfway to the next lower probability; 0.5 where no face has the unit.
    """
    if not labels.any():
        return 0.5
    precision, recall, candidates = metrics.precision_recall_curve(labels, probabilities)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    # scikit-learn predicts from a candidate on, `per_fold` above the threshold.
    best = np.argmax(f1[:-1])
    below = candidates[best - 1] if best else 0.0
    return float((candidates[best] + below) / 2)


def check_arrays(labels: np.ndarray, probabilities: list, coded: np.ndarray, folds: list) -> None:
    """Refuse arrays that do not fit each other; they are those of `per_fold`.

    Raises:
        ValueError: a shape or type is another, a coded label not 0 or 1, a probability outside [0, 1].
    """
    if coded.shape != labels.shape or coded.dtype != bool:
        raise ValueError(f"coded must be bool of shape {labels.shape}; got {coded.dtype} of {coded.shape}")
    if not np.isin(labels[coded], (0, 1)).all():
        raise ValueError("labels must be 0 or 1 where coded: turn intensities into occurrence first")
    shapes = [(len(test), labels.shape[1]) for _, test in folds]
    if [p.shape for p in probabilities] != shapes:
        raise ValueError(
            f"probabilities must be one array for each fold, of shapes {shapes}; got "
            f"{[p.shape for p in probabilities]}"
        )
    for number, p in enumerate(probabilities, start=1):
        if not ((p >= 0) & (p <= 1)).all():
            raise ValueError(
                f"probabilities of fold {number} must lie in [0, 1]; {p.min()} to {p.max()} came"
            )


def _text(subject):
    return subject.decode() if isinstance(subject, bytes) else str(subject)
