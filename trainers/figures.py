"""The pictures at the end of a pretraining run and of an evaluation."""

import pathlib

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.manifold import TSNE
from sklearn.metrics import ConfusionMatrixDisplay, precision_recall_curve

from trainers import workdir

MAX_POINTS = 1500


def summary(path: pathlib.Path, history: list[dict], faces, scores: dict, features, title: str):
    """Write one PNG of a run.

    Args:
        path: where to.
        history: one dict of logs for each epoch.
        faces: `trainers.probe.Faces`, or None where no action units were probed.
        scores: name of the encoder -> `(A,)` F1 in percent.
        features: `(n, F)` of the trained encoder on `faces`.
        title: of the whole picture.
    """
    rows = 1 if faces is None else 2
    figure, axes = plt.subplots(rows, 2, figsize=(12, 4.6 * rows), squeeze=False, layout="constrained")
    _curves(axes[0, 0], history, "loss", "loss")
    _curves(axes[0, 1], history, "accuracy", "accuracy")
    if faces is not None:
        _bars(axes[1, 0], faces.action_units, scores)
        _embedding(axes[1, 1], faces, features)
    figure.suptitle(title)
    _save(figure, path)


def _curves(axes, history, suffix, label):
    names = [name for name in history[0] if name.endswith(suffix)] if history else []
    for name in sorted(names):
        axes.plot(range(1, len(history) + 1), [logs[name] for logs in history], marker=".", label=name)
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend()


def _bars(axes, action_units, scores):
    width = 0.8 / len(scores)
    positions = np.arange(len(action_units))
    for i, (name, score) in enumerate(scores.items()):
        axes.bar(positions + i * width, score, width, label=f"{name} (average {score.mean():.1f})")
    axes.set_xticks(positions + 0.4 - width / 2, [f"AU{unit}" for unit in action_units], rotation=45)
    axes.set(ylabel="F1 in %, linear probe on frozen features", ylim=(0, 100))
    axes.legend(loc="upper right")


def _embedding(axes, faces, features):
    """Held-out faces in the plane twice: coloured by emotion, and by the unit most evenly present."""
    test = _drawn(faces)
    points = _plane(features[test])
    axes.set_axis_off()
    left, right = (axes.inset_axes([x, 0.0, 0.48, 0.92]) for x in (0.0, 0.52))
    _by_emotion(left, points, faces.emotions[test])
    unit = int(np.argmin(np.abs(faces.occurrence[test].mean(axis=0) - 0.5)))
    _by_unit(right, points, faces.occurrence[test, unit])
    right.set_title(f"the same faces by AU{faces.action_units[unit]}", fontsize=9)


def _drawn(faces):
    """Rows of the first fold's test faces, at most MAX_POINTS of them."""
    return np.random.default_rng(0).permutation(faces.folds[0][1])[:MAX_POINTS]


def _plane(features):
    """`(n, 2)`: t-SNE."""
    tsne = TSNE(init="pca", perplexity=min(30, (len(features) - 1) / 3), random_state=0)
    return tsne.fit_transform(features)


def _by_emotion(axes, points, emotions):
    for name in np.unique(emotions):
        chosen = emotions == name
        axes.scatter(*points[chosen].T, s=4, label=name or "unlabelled")
    axes.legend(markerscale=3, fontsize=7)
    axes.set(xticks=[], yticks=[])
    axes.set_title("held-out faces by emotion", fontsize=9)


def _by_unit(axes, points, occurrence):
    present = occurrence == 1
    axes.scatter(*points[~present].T, s=4, color="0.75", label="absent")
    axes.scatter(*points[present].T, s=4, color="crimson", label="present")
    axes.legend(markerscale=3, fontsize=7)
    axes.set(xticks=[], yticks=[])


def visualization(path: pathlib.Path, features: dict[str, np.ndarray], faces):
    """Write Fig. 5 of the paper: for each model held-out faces by emotion, and those of one by one AU.

    The emotion and the unit of the right half are those that split most faces most evenly.

    Args:
        path: where to.
        features: name of the model -> `(n, F)` of all faces.
        faces: `trainers.probe.Faces`.
    """
    test = _drawn(faces)
    occurrence, emotions = faces.occurrence[test], faces.emotions[test]
    names = [name for name in np.unique(emotions) if name] or [""]
    rarer = [
        np.minimum(occurrence[emotions == name].sum(axis=0), (1 - occurrence[emotions == name]).sum(axis=0))
        for name in names
    ]
    emotion, unit = np.unravel_index(np.argmax(rarer), np.shape(rarer))
    inside = emotions == names[emotion]
    figure, axes = plt.subplots(
        len(features), 2, figsize=(10, 4.6 * len(features)), squeeze=False, layout="constrained"
    )
    for (left, right), (model, x) in zip(axes, features.items(), strict=True):
        _by_emotion(left, _plane(x[test]), emotions)
        _by_unit(right, _plane(x[test[inside]]), occurrence[inside, unit])
        left.set_ylabel(model)
        right.set_title(f"{names[emotion] or 'all faces'} alone, by AU{faces.action_units[unit]}", fontsize=9)
    _save(figure, path)


def neighbours(path: pathlib.Path, rows: list[tuple]):
    """Write a sheet of faces, each row one face and those that its features are nearest to.

    Args:
        path: where to.
        rows: (emotion, list of (picture, caption)), the face itself first.
    """
    columns = max(len(faces) for _, faces in rows)
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(1.5 * columns, 1.8 * len(rows)), squeeze=False, layout="constrained"
    )
    for panel in axes.flat:
        panel.set_axis_off()
    for line, (emotion, faces) in zip(axes, rows, strict=True):
        for panel, (picture, caption) in zip(line, faces, strict=False):
            panel.imshow(picture, cmap="gray", vmin=0, vmax=255)
            panel.set_title(f"AU {caption}", fontsize=7)
        line[0].set_title(f"{emotion}\nAU {faces[0][1]}", fontsize=7, fontweight="bold")
    figure.suptitle("Held-out faces (left) and the nearest of other people in the same emotion", fontsize=9)
    _save(figure, path)


def confusion(path: pathlib.Path, names: list[str], counts: np.ndarray):
    """Write the confusion of emotions, each row in percent of the faces with that emotion.

    Args:
        path: where to.
        names: of the `E` emotions.
        counts: `(E, E)`, rows the true emotion, columns the predicted.
    """
    figure, axes = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
    totals = counts.sum(axis=1, keepdims=True)
    percent = 100 * counts / np.maximum(totals, 1)
    ConfusionMatrixDisplay(percent, display_labels=names).plot(
        ax=axes, cmap="Blues", values_format=".0f", xticks_rotation=45, im_kw={"vmin": 0, "vmax": 100}
    )
    axes.set_yticks(axes.get_yticks(), [f"{n} ({t})" for n, t in zip(names, totals[:, 0], strict=True)])
    axes.set(xlabel="taken for", ylabel="emotion (faces)", title="Linear classifier of frozen features, in %")
    _save(figure, path)


def lambda_sweep(path: pathlib.Path, curves: dict[str, list[tuple]]):
    """Write Fig. 4 of the paper: F1 over lambda.

    Args:
        path: where to.
        curves: name -> list of (lambda, average F1 in percent, deviation over seeds or None).
    """
    figure, axes = plt.subplots(figsize=(7, 4.6), layout="constrained")
    for name, points in curves.items():
        values, f1, deviation = zip(*points, strict=True)
        axes.errorbar(values, f1, [d or 0.0 for d in deviation], marker="o", capsize=2, label=name)
    axes.set_xscale("log")
    axes.set(xlabel="lambda, weight of the emotion loss", ylabel="average F1 in %")
    axes.grid(alpha=0.3)
    axes.legend()
    _save(figure, path)


def evaluation(path: pathlib.Path, predictions, table: list[tuple], title: str):
    """Write one PNG of an evaluation: F1 of each unit with its interval, and precision over recall.

    Args:
        path: where to.
        predictions: `trainers.results.Predictions`.
        table: of `trainers.results.rows`.
        title: of the whole picture.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 4.8), layout="constrained", width_ratios=(3, 2))
    _intervals(left, predictions.action_units, table)
    _precision_recall(right, predictions)
    figure.suptitle(title)
    _save(figure, path)


def _intervals(axes, action_units, table):
    by_title = {title: [*values, average] for title, values, average in table}
    names = [f"AU{unit}" for unit in action_units] + ["Avg."]
    positions = np.arange(len(names))
    paper = [title for title in by_title if title.startswith("EmoCo")]
    f1 = {title: np.array(by_title[title], float) for title in ("this encoder", *paper)}
    low, high = (np.array(by_title[title], float) for title in ("  95% from", "  to"))
    for i, (title, values) in enumerate(f1.items()):
        axes.bar(positions + i * 0.4, values, 0.4, label=title)
    # The interval of a skewed distribution may lie beside the value itself.
    below, above = np.maximum(f1["this encoder"] - low, 0), np.maximum(high - f1["this encoder"], 0)
    axes.errorbar(positions, f1["this encoder"], (below, above), fmt="none", ecolor="black", capsize=2)
    axes.plot(positions, np.array(by_title["  prevalence"], float), "k_", label="prevalence")
    axes.set_xticks(positions, names, rotation=45)
    axes.set(ylabel="F1 in %, with 95% interval over people", ylim=(0, 100))
    axes.legend(loc="upper left")


def _precision_recall(axes, predictions):
    colors = plt.get_cmap("turbo")(np.linspace(0.05, 0.95, len(predictions.action_units)))
    tests = [test for _, test in predictions.folds]
    probabilities, rows = np.concatenate(predictions.probabilities), np.concatenate(tests)
    for unit, (number, color) in enumerate(zip(predictions.action_units, colors, strict=True)):
        coded = predictions.coded[rows, unit]
        labels = predictions.labels[rows, unit][coded]
        if labels.any():
            precision, recall, _ = precision_recall_curve(labels, probabilities[coded, unit])
            axes.plot(100 * recall, 100 * precision, color=color, lw=1, label=f"AU{number}")
    axes.set(xlabel="recall in %", ylabel="precision in %", xlim=(0, 100), ylim=(0, 101))
    axes.set_title("all test folds together", fontsize=9)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _save(figure, path):
    with workdir.replaced(path) as partial:
        figure.savefig(partial, dpi=100)
    plt.close(figure)
