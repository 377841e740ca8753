"""Tables and files of an evaluation: the numbers in them are those of `scores`."""

import dataclasses
import json

import numpy as np
import pytest
from PIL import Image

from trainers import figures, results, scores


def predictions(units=(1, 2, 4), n=300, seed=0, noise=0.0):
    rng = np.random.default_rng(seed)
    subjects = np.array([f"person{i % 9}".encode() for i in range(n)])
    labels = (rng.uniform(size=(n, len(units))) < 0.4).astype(int)
    rows, person = np.arange(n), np.arange(n) % 9
    folds = [(rows[person % 3 != f], rows[person % 3 == f]) for f in range(3)]
    p = 0.4 * labels + 0.6 * rng.uniform(size=labels.shape)
    p = np.clip(p + noise * np.random.default_rng(1).normal(size=p.shape), 0, 1)
    coded = rng.uniform(size=labels.shape) < 0.9
    probabilities = [p[test] for _, test in folds]
    thresholds = np.full((3, len(units)), 0.45)
    return results.Predictions(list(units), labels, coded, subjects, folds, probabilities, thresholds)


def test_summary_is_the_scores():
    made = predictions()
    summary = json.loads(json.dumps(results.summarize(made), allow_nan=False))
    found = scores.per_fold(*made.arguments())
    for name, value in found.items():
        for i, unit in enumerate(made.action_units):
            assert summary["units"][str(unit)][name] == pytest.approx(100 * value[:, i].mean(), abs=1e-5)
        assert summary["average"][name] == pytest.approx(100 * value.mean(), abs=1e-5)
    assert summary["average"]["f1_folds"] == pytest.approx(100 * found["f1"].mean(axis=1), abs=1e-5)
    deviation = 100 * found["f1"].mean(axis=1).std(ddof=1)
    assert summary["average"]["f1_deviation"] == pytest.approx(deviation, abs=1e-5)
    low, high = summary["average"]["f1_interval"]
    assert low < summary["average"]["f1"] < high
    assert (summary["folds"], summary["faces"], summary["subjects"]) == (3, 300, 9)


def test_unit_without_scores_is_a_dash():
    made = predictions()
    made.coded[:, 1] = False
    summary = results.summarize(made)
    json.dumps(summary, allow_nan=False)
    assert summary["units"]["2"]["f1"] is None
    text = results.text_table(summary, results.rows(summary, "faces", False))
    assert text.splitlines()[1].split()[2:5:2] == [
        f"{summary['units']['1']['f1']:.1f}",
        f"{summary['units']['4']['f1']:.1f}",
    ]
    assert text.splitlines()[1].split()[3] == "-"
    assert summary["average"]["f1"] == pytest.approx(
        (summary["units"]["1"]["f1"] + summary["units"]["4"]["f1"]) / 2
    )


def test_table_stands_beside_the_papers():
    units = (1, 2, 4, 6, 9, 12, 25, 26)
    summary = results.summarize(predictions(units))
    table = results.rows(summary, "disfa/1.0.0", finetuned=True)
    assert ("EmoCo (paper)", [42.7, 41.0, 66.3, 45.1, 50.9, 75.5, 88.9, 58.6], 58.6) in table
    assert [title for title, _, _ in table].index("this encoder") == 10, "after the ten finetuned rows"
    text = results.text_table(summary, table)
    assert text.splitlines()[0].split() == ["Methods/AU", *map(str, units), "Avg."]
    assert len({len(line) for line in text.splitlines()}) == 1, "columns are aligned"
    # A unit that the paper does not have.
    other = results.rows(results.summarize(predictions((1, 43))), "disfa", finetuned=False)
    assert ("EmoCo (paper)", [34.3, None], 53.3) in other


def test_saved_and_loaded(tmp_path):
    made = predictions()
    results.save(tmp_path / "predictions.npz", made)
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.npz"]
    loaded = results.load(tmp_path / "predictions.npz")
    assert results.summarize(loaded) == results.summarize(made)
    with pytest.raises(FileNotFoundError, match=r"let trainers\.evaluate finish"):
        results.load(tmp_path / "none" / "predictions.npz")


def test_comparison_is_paired():
    good, bad = predictions(), predictions(noise=0.3)
    result = results.compare(good, bad)
    assert 0 < result["low"] < result["difference"] < result["high"] < 100
    other = predictions(seed=5)
    with pytest.raises(ValueError, match="other faces, action units or folds"):
        results.compare(good, other)
    with pytest.raises(ValueError, match="other faces"):
        results.compare(good, dataclasses.replace(bad, folds=bad.folds[::-1]))


def test_picture(tmp_path):
    made = predictions((1, 2, 4, 6, 9, 12, 25, 26))
    summary = results.summarize(made)
    figures.evaluation(tmp_path / "scores.png", made, results.rows(summary, "disfa", True), "title")
    with Image.open(tmp_path / "scores.png") as picture:
        assert picture.size[0] >= 1000
        assert np.asarray(picture.convert("L")).std() > 10, "something is drawn"
