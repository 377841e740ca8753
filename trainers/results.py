"""The predictions of an evaluation as files, and the tables made of them. Training is not here."""

import dataclasses
import json
import pathlib

import numpy as np

from trainers import published, scores, workdir


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What the test folds were predicted as; all that `scores` needs.

    Attributes:
        action_units: numbers of the `A` units.
        labels: `(n, A)` of 0 and 1.
        coded: `(n, A)` bool.
        subjects: `(n,)`.
        folds: list of (training rows, test rows).
        probabilities: one `(len(test rows), A)` for each fold.
        thresholds: `(folds, A)`.
    """

    action_units: list[int]
    labels: np.ndarray
    coded: np.ndarray
    subjects: np.ndarray
    folds: list[tuple[np.ndarray, np.ndarray]]
    probabilities: list[np.ndarray]
    thresholds: np.ndarray

    def arguments(self) -> tuple:
        """The arguments of `scores.per_fold` and `scores.bootstrap`."""
        return self.labels, self.probabilities, self.coded, self.subjects, self.folds, self.thresholds


def save(path: pathlib.Path, predictions: Predictions) -> None:
    """Write predictions as one `.npz`."""
    arrays = {
        name: np.asarray(getattr(predictions, name))
        for name in ("action_units", "labels", "coded", "subjects", "thresholds")
    }
    for k, ((train, test), probabilities) in enumerate(
        zip(predictions.folds, predictions.probabilities, strict=True)
    ):
        arrays.update({f"train_{k}": train, f"test_{k}": test, f"probabilities_{k}": probabilities})
    workdir.write_arrays(path, **arrays)


def load(path: pathlib.Path) -> Predictions:
    """Read what `save` wrote.

    Raises:
        FileNotFoundError: the directory holds no finished evaluation.
        ValueError: the file is damaged, or holds something else.
    """
    if not path.exists():
        raise FileNotFoundError(f"no {path}: let trainers.evaluate finish there first")
    arrays = workdir.read_arrays(path)
    try:
        return _predictions(arrays)
    except (KeyError, TypeError) as error:
        raise workdir.DamagedError(
            f"{path} holds no predictions ({error}): let trainers.evaluate write it"
        ) from error


def _predictions(arrays):
    folds = range(len(arrays["thresholds"]))
    return Predictions(
        arrays["action_units"].tolist(),
        arrays["labels"],
        arrays["coded"],
        arrays["subjects"],
        [(arrays[f"train_{k}"], arrays[f"test_{k}"]) for k in folds],
        [arrays[f"probabilities_{k}"] for k in folds],
        arrays["thresholds"],
    )


def summarize(predictions: Predictions) -> dict:
    """All scores in percent as JSON can hold them; None where there is none (`scores.per_fold` says when).

    Returns:
        `units`: for each action unit the mean over folds of every score, `f1_folds`, their standard
        deviation `f1_deviation` and the 95% interval `f1_interval`; `average`: the same over the units.
    """
    found = scores.per_fold(*predictions.arguments())
    draws = scores.bootstrap(*predictions.arguments())
    low, high = scores.interval(draws)
    units = {}
    for i, unit in enumerate(predictions.action_units):
        units[str(unit)] = _entry({name: value[:, i] for name, value in found.items()}, low[i], high[i])
    low, high = scores.interval(scores.mean(draws, axis=1))
    average = _entry({name: scores.mean(value, axis=1) for name, value in found.items()}, low, high)
    return {
        "folds": len(predictions.folds),
        "faces": len(predictions.labels),
        "subjects": len(np.unique(predictions.subjects)),
        "units": units,
        "average": average,
    }


def _entry(folds, low, high):
    f1 = folds["f1"]
    known = f1[~np.isnan(f1)]
    entry = {name: _percent(scores.mean(value)) for name, value in folds.items()}
    entry["f1_folds"] = [_percent(value) for value in f1]
    entry["f1_deviation"] = _percent(known.std(ddof=1)) if len(known) > 1 else None
    entry["f1_interval"] = [_percent(low), _percent(high)]
    return entry


def _percent(value):
    return None if np.isnan(value) else round(100 * float(value), 6)


def rows(summary: dict, dataset: str, finetuned: bool, name: str = "this encoder") -> list[tuple]:
    """Rows of the paper's kind of table: (title, F1 of each unit in percent or None, average).

    The paper's own rows on this data set come first, then this one and what says how sure it is.
    """
    units = list(summary["units"])
    found = []
    for row in published.find(dataset, finetuned):
        found.append((f"{row.method} (paper)", [row.f1.get(int(u)) for u in units], row.average))
    entries = [*summary["units"].values(), summary["average"]]
    for title, pick in (
        (name, lambda e: e["f1"]),
        ("  95% from", lambda e: e["f1_interval"][0]),
        ("  to", lambda e: e["f1_interval"][1]),
        ("  deviation of folds", lambda e: e["f1_deviation"]),
        ("  prevalence", lambda e: e["prevalence"]),
    ):
        *values, average = (pick(entry) for entry in entries)
        found.append((title, values, average))
    return found


def text_table(summary: dict, table: list[tuple]) -> str:
    """`rows` as aligned text."""
    width = max(len(title) for title, _, _ in table) + 2
    lines = ["Methods/AU".ljust(width) + "".join(f"{u:>6}" for u in [*summary["units"], "Avg."])]
    for title, values, average in table:
        lines.append(title.ljust(width) + "".join(f"{number(v):>6}" for v in [*values, average]))
    return "\n".join(lines)


def number(value: float | None) -> str:
    """As the paper prints it; a dash where there is none."""
    return "-" if value is None else f"{value:.1f}"


def check_comparable(other: Predictions, action_units, labels, coded, subjects, folds) -> None:
    """Refuse to compare with an evaluation of other faces, units or folds.

    Raises:
        ValueError: they differ.
    """
    same = other.action_units == action_units and len(other.folds) == len(folds)
    same = same and np.array_equal(other.coded, coded) and np.array_equal(other.subjects, subjects)
    same = same and np.array_equal(other.labels[coded], labels[coded])
    same = same and all(np.array_equal(a, b) for (_, a), (_, b) in zip(other.folds, folds, strict=True))
    if not same:
        raise ValueError(
            "the two evaluations are of other faces, action units or folds: evaluate both encoders on the "
            "same data with the same --action_units, --max_faces and --seeds"
        )


def pool(runs: list[Predictions]) -> Predictions:
    """Several runs on the same faces and folds, which differ in seed, as one: each run's folds in turn."""
    return dataclasses.replace(
        runs[0],
        folds=[fold for run in runs for fold in run.folds],
        probabilities=[p for run in runs for p in run.probabilities],
        thresholds=np.concatenate([run.thresholds for run in runs]),
    )


def compare(one: Predictions, two: Predictions) -> dict[str, float]:
    """Paired bootstrap of two evaluations, `one - two` in percent; see `scores.compare`.

    Raises:
        ValueError: they are not of the same faces, units and folds.
    """
    check_comparable(two, one.action_units, one.labels, one.coded, one.subjects, one.folds)
    result = scores.compare(scores.bootstrap(*one.arguments()), scores.bootstrap(*two.arguments()))
    return {name: value if name == "p" else 100 * value for name, value in result.items()}


def write(directory: pathlib.Path, summary: dict) -> None:
    """Write `scores.json`."""
    workdir.write_text(directory / "scores.json", json.dumps(summary, indent=1, allow_nan=False))
