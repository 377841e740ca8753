"""The picture at the end of a pretraining run: loss curves, F1 bars, features in the plane."""

import os
import pathlib

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.manifold import TSNE

MAX_POINTS = 1500


def summary(
    path: pathlib.Path, history: list[dict], faces, scores: dict, features, emotion_names, title: str
):
    """Write one PNG of a run.

    Args:
        path: where to.
        history: one dict of logs for each epoch.
        faces: `trainers.probe.Faces`, or None where no action units were probed.
        scores: name of the encoder -> `(A,)` F1 in percent.
        features: `(n, F)` of the trained encoder on `faces`.
        emotion_names: names of integer emotion labels.
        title: of the whole picture.
    """
    rows = 1 if faces is None else 2
    figure, axes = plt.subplots(rows, 2, figsize=(12, 4.6 * rows), squeeze=False, layout="constrained")
    _curves(axes[0, 0], history, "loss", "loss")
    _curves(axes[0, 1], history, "accuracy", "accuracy")
    if faces is not None:
        _bars(axes[1, 0], faces.action_units, scores)
        _embedding(figure, axes[1, 1], faces, features, emotion_names)
    figure.suptitle(title)
    temporary = path.with_suffix(".partial.png")
    figure.savefig(temporary, dpi=100)
    plt.close(figure)
    os.replace(temporary, path)


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


def _embedding(figure, axes, faces, features, emotion_names):
    """t-SNE of held-out faces twice: coloured by emotion, and by the unit most evenly present."""
    test = faces.folds[0][1]
    test = np.random.default_rng(0).permutation(test)[:MAX_POINTS]
    points = TSNE(init="pca", perplexity=min(30, (len(test) - 1) / 3), random_state=0).fit_transform(
        features[test]
    )
    axes.set_axis_off()
    left, right = (axes.inset_axes([x, 0.0, 0.48, 0.92]) for x in (0.0, 0.52))
    emotions = faces.emotions[test]
    for label in np.unique(emotions):
        name = label.decode() if isinstance(label, bytes) else emotion_names[int(label)]
        chosen = emotions == label
        left.scatter(*points[chosen].T, s=4, label=name or "unlabelled")
    left.legend(markerscale=3, fontsize=7)
    left.set_title("held-out faces by emotion", fontsize=9)
    unit = int(np.argmin(np.abs(faces.occurrence[test].mean(axis=0) - 0.5)))
    present = faces.occurrence[test, unit] == 1
    right.scatter(*points[~present].T, s=4, color="0.75", label="absent")
    right.scatter(*points[present].T, s=4, color="crimson", label="present")
    right.legend(markerscale=3, fontsize=7)
    right.set_title(f"the same faces by AU{faces.action_units[unit]}", fontsize=9)
    for panel in (left, right):
        panel.set(xticks=[], yticks=[])
