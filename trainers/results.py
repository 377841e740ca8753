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
        predictions = _predictions(arrays)
        _check(predictions)
        return predictions
    except (KeyError, TypeError, ValueError, IndexError) as error:
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


def _check(predictions):
    """Raise ValueError for arrays that do not fit each other."""
    faces, units = len(predictions.subjects), predictions.action_units
    numbers = predictions.thresholds.dtype.kind == "f" and predictions.labels.dtype.kind in "iuf"
    if not numbers or not units or not all(isinstance(unit, int) for unit in units):
        raise ValueError("units, labels or thresholds are no numbers")
    for name, shape in (
        ("labels", (faces, len(units))),
        ("subjects", (faces,)),
        ("thresholds", (len(predictions.folds), len(units))),
    ):
        if getattr(predictions, name).shape != shape:
            raise ValueError(f"{name} of shape {getattr(predictions, name).shape}, not {shape}")
    for rows in (rows for fold in predictions.folds for rows in fold):
        if rows.dtype.kind not in "iu" or rows.ndim != 1 or not ((rows >= 0) & (rows < faces)).all():
            raise ValueError(f"rows of a fold that are not of {faces} faces")
    if not predictions.folds or not np.isfinite(predictions.thresholds).all():
        raise ValueError("no fold, or thresholds that are not finite")
    scores.check_folds(predictions.subjects, predictions.folds)
    scores.check_arrays(predictions.labels, predictions.probabilities, predictions.coded, predictions.folds)


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


def read(directory: pathlib.Path) -> dict:
    """The summary in `scores.json`.

    Raises:
        DamagedError: it holds something else.
    """
    file = directory / "scores.json"
    counts, tables = (
        dict.fromkeys(("folds", "faces", "subjects"), int),
        dict.fromkeys(("units", "average"), dict),
    )
    summary = workdir.read_json(file, {**counts, **tables, "dataset": str, "protocol": str})
    try:
        for unit, entry in (*summary["units"].items(), ("0", summary["average"])):
            _check_entry(entry, summary["folds"], int(unit))
        if "comparison" in summary:
            _check_percent([summary["comparison"][name] for name in ("difference", "low", "high", "p")])
            summary["comparison"]["to"] = str(summary["comparison"]["to"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise workdir.DamagedError(
            f"{file} is damaged ({type(error).__name__}: {error}): let trainers.evaluate write it again"
        ) from error
    return summary


def _check_entry(entry, folds, unit):
    if unit < 0 or len(entry["f1_folds"]) != folds or len(entry["f1_interval"]) != 2:
        raise ValueError(f"AU{unit} is not of {folds} folds")
    numbers = [entry[name] for name in (*scores.SCORES, "f1_deviation")]
    _check_percent([n for n in [*numbers, *entry["f1_folds"], *entry["f1_interval"]] if n is not None])


def _check_percent(numbers):
    if not all(isinstance(number, (int, float)) and abs(number) <= 100 for number in numbers):
        raise ValueError(f"{numbers} are not all in percent")
