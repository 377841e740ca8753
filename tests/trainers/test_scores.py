"""Scores against scikit-learn, the bootstrap against resampled frames, and folds that are refused."""

import numpy as np
import pytest
from sklearn import metrics

from trainers import scores


def detection(seed=0, n=400, units=4, people=12):
    """Three folds by person; ties, holes, a unit never present (2), one absent from fold 0's test (3)."""
    rng = np.random.default_rng(seed)
    subjects = rng.integers(0, people, n)
    labels = (rng.uniform(size=(n, units)) < [0.2, 0.7, 0.0, 0.4]).astype(int)
    coded = rng.uniform(size=labels.shape) < 0.8
    rows = np.arange(n)
    folds = [(rows[subjects % 3 != f], rows[subjects % 3 == f]) for f in range(3)]
    labels[folds[0][1], 3] = 0
    probabilities = np.round(0.35 * labels + 0.65 * rng.uniform(size=labels.shape), 1)
    labels[~coded] = 9
    return labels, [probabilities[test] for _, test in folds], coded, subjects, folds


def frames(data, fold, unit):
    labels, probabilities, coded, _, folds = data
    test = folds[fold][1]
    here = coded[test, unit]
    return labels[test, unit][here], probabilities[fold][here, unit]


@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_every_score_equals_scikit_learn(threshold):
    data = detection()
    found = scores.per_fold(*data, thresholds=threshold)
    for fold in range(3):
        for unit in range(4):
            y, p = frames(data, fold, unit)
            precision, recall, f1, _ = metrics.precision_recall_fscore_support(
                y, p > threshold, average="binary", zero_division=0
            )
            at = {name: value[fold, unit] for name, value in found.items()}
            assert at["f1"] == pytest.approx(f1, abs=1e-6)
            assert at["precision"] == pytest.approx(precision, abs=1e-6)
            assert at["recall"] == pytest.approx(recall, abs=1e-6)
            assert at["accuracy"] == pytest.approx(np.mean(y == (p > threshold)), abs=1e-6)
            assert at["prevalence"] == pytest.approx(y.mean(), abs=1e-6)
            if y.any():
                assert at["roc_auc"] == pytest.approx(metrics.roc_auc_score(y, p), abs=1e-6)
                assert at["pr_auc"] == pytest.approx(metrics.average_precision_score(y, p), abs=1e-6)
    # Unit 2 is never present, unit 3 not in the test of fold 0.
    np.testing.assert_array_equal(found["f1"][:, 2], 0.0)
    assert np.isnan(found["roc_auc"][:, 2]).all()
    assert np.isnan(found["pr_auc"][:, 2]).all()
    assert found["f1"][0, 3] == found["f1_norm"][0, 3] == 0.0
    assert (found["f1"][1:, 3] > 0).all()
    # The mean over folds counts the 0 of the F1 and leaves out the area that does not exist.
    assert scores.mean(found["f1"])[3] == pytest.approx(found["f1"][:, 3].sum() / 3)
    assert scores.mean(found["roc_auc"])[3] == pytest.approx(found["roc_auc"][1:, 3].mean())


def test_f1_norm_by_hand():
    # 2 positives, 8 negatives, so a negative weighs 1/4: TP 1, FN 1, FP 4/4: F1 = 2 / (2 + 1 + 1).
    labels = np.array([[1], [1]] + [[0]] * 8)
    probabilities = [np.array([0.9, 0.1, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1])[:, None]]
    labels, coded = np.vstack([labels, [[1]]]), np.ones((11, 1), bool)
    folds = [(np.array([10]), np.arange(10))]
    found = scores.per_fold(labels, probabilities, coded, np.r_[np.zeros(10), 1], folds)
    assert found["f1_norm"] == pytest.approx(0.5)
    assert found["f1"] == pytest.approx(2 / (2 + 1 + 4))


def test_unit_that_nobody_coded_has_no_score():
    labels, probabilities, coded, subjects, folds = detection()
    coded[folds[1][1], 0] = False
    found = scores.per_fold(labels, probabilities, coded, subjects, folds)
    assert all(np.isnan(value[1, 0]) and np.isfinite(found["f1"][0, 0]) for value in found.values())
    draws = scores.bootstrap(labels, probabilities, coded, subjects, folds, draws=20)
    assert np.isfinite(draws).all(), "the other two folds have it"
    coded[:, 0] = False
    found = scores.per_fold(labels, probabilities, coded, subjects, folds)
    assert np.isnan(scores.mean(found["f1"])[0])


def test_bootstrap_equals_scikit_learn_on_the_drawn_people():
    data = labels, probabilities, coded, subjects, folds = detection()
    draws = scores.bootstrap(*data, thresholds=0.4, draws=5, seed=3)
    rng = np.random.default_rng(3)
    expected = np.zeros((3, 5, 4))
    for fold, (_, test) in enumerate(folds):
        people = np.unique(subjects[test])
        for draw, times in enumerate(rng.multinomial(len(people), [1 / len(people)] * len(people), size=5)):
            rows = np.concatenate(
                [np.tile(np.flatnonzero(subjects[test] == s), k) for s, k in zip(people, times, strict=True)]
            )
            for unit in range(4):
                here = rows[coded[test][rows, unit]]
                y, p = labels[test][here, unit], probabilities[fold][here, unit]
                expected[fold, draw, unit] = metrics.f1_score(y, p > 0.4, zero_division=0)
    np.testing.assert_allclose(draws, expected.mean(axis=0), atol=1e-12)
    low, high = scores.interval(draws)
    assert (low <= high).all()


def test_interval_covers_what_the_people_say():
    # A detector that is right about every second person, and never about the others.
    subjects = np.repeat(np.arange(40), 5)
    labels = np.ones((200, 1), int)
    probabilities = [(subjects[100:, None] % 2).astype(float)]
    folds = [(np.arange(100), np.arange(100, 200))]
    draws = scores.bootstrap(labels, probabilities, labels == 1, subjects, folds, draws=4000)
    low, high = scores.interval(draws)
    # Recall of 20 people: 0.5 with standard error 0.112; F1 = 2r / (1 + r).
    for end, recall in ((low, 0.5 - 1.96 * 0.112), (high, 0.5 + 1.96 * 0.112)):
        assert end[0] == pytest.approx(2 * recall / (1 + recall), abs=0.04)


def test_paired_bootstrap():
    labels, probabilities, coded, subjects, folds = detection(n=3000)
    rng = np.random.default_rng(1)
    # Some people are easy to read and some hard, for both detectors.
    hard = rng.uniform(0, 0.6, (12, 1))
    probabilities = [
        np.clip(p + rng.normal(0, 1, p.shape) * hard[subjects[test]], 0, 1)
        for p, (_, test) in zip(probabilities, folds, strict=True)
    ]
    worse = [np.clip(p + rng.normal(0, 0.2, p.shape), 0, 1) for p in probabilities]
    one, two = (scores.bootstrap(labels, p, coded, subjects, folds) for p in (probabilities, worse))
    result = scores.compare(one, two)
    assert 0 < result["low"] < result["difference"] < result["high"]
    assert result["p"] < 0.01
    alone = np.subtract(*scores.interval(one.mean(axis=1))[::-1])
    assert result["high"] - result["low"] < alone, "what is common to both runs cancels"
    same = scores.compare(one, one)
    assert (same["difference"], same["low"], same["high"], same["p"]) == (0, 0, 0, 1)
    with pytest.raises(ValueError, match="same draws"):
        scores.compare(one, two[:, :2])


def test_runs_that_differ_in_seed_share_their_draws():
    labels, probabilities, coded, subjects, folds = detection()
    once = scores.bootstrap(labels, probabilities, coded, subjects, folds, draws=7)
    twice = scores.bootstrap(labels, probabilities * 2, coded, subjects, folds * 2, draws=7)
    np.testing.assert_allclose(once, twice)


def test_best_threshold_is_the_best():
    rng = np.random.default_rng(0)
    y = (rng.uniform(size=300) < 0.2).astype(int)
    p = np.round(np.clip(0.2 * y + 0.5 * rng.uniform(size=300), 0, 1), 2)
    chosen = metrics.f1_score(y, p > scores.best_threshold(y, p))
    assert chosen == max(metrics.f1_score(y, p > t, zero_division=0) for t in np.linspace(0, 0.995, 200))
    assert chosen > metrics.f1_score(y, p > 0.5, zero_division=0) + 0.05
    assert scores.best_threshold(np.zeros(5, int), p[:5]) == 0.5


def test_what_is_refused():
    labels, probabilities, coded, subjects, folds = detection()
    leaky = [(np.append(folds[0][0], folds[0][1][5]), folds[0][1]), *folds[1:]]
    with pytest.raises(ValueError, match=r"fold 1 of 3 leaks: 1 subjects .* split by subject"):
        scores.per_fold(labels, probabilities, coded, subjects, leaky)
    empty = [*folds[:2], (folds[2][0], np.array([], int))]
    with pytest.raises(ValueError, match="fold 3 of 3 has no test face"):
        scores.per_fold(labels, probabilities, coded, subjects, empty)
    with pytest.raises(ValueError, match=r"one array for each fold"):
        scores.per_fold(labels, probabilities[:2], coded, subjects, folds)
    with pytest.raises(ValueError, match=r"probabilities of fold 1 must lie in \[0, 1\]"):
        scores.per_fold(labels, [5 * p for p in probabilities], coded, subjects, folds)
    with pytest.raises(ValueError, match="intensities"):
        scores.per_fold(labels, probabilities, np.ones_like(coded), subjects, folds)
