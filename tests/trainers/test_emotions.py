"""Confusion of emotions, by hand."""

import dataclasses

import numpy as np
import tensorflow as tf
from PIL import Image

from trainers import emotions, figures, probe

NAMES = ["angry", "happy", "sad"]


def faces(labels):
    """Faces 0 to 11 train and 12 to 17 test, then the other way round."""
    n = len(labels)
    zeros = np.zeros((n, 1), int)
    rows = np.arange(n)
    first, last = rows[:12], rows[12:]
    return probe.Faces(
        tf.data.Dataset.range(n),
        [1],
        zeros,
        zeros == 0,
        rows,
        np.array(labels),
        [(first, last), (last, first)],
    )


def test_counts_are_of_the_test_faces_rows_the_true_emotion():
    labels = NAMES * 6
    seen = np.array([NAMES.index(label) for label in labels])
    seen[12] = 1  # one angry face looks happy; all others are what they are
    x = 10 * np.eye(3, dtype=np.float32)[seen]
    given = faces(labels)
    given = dataclasses.replace(given, folds=given.folds[:1])
    names, counts = emotions.confusion(given, x)
    assert names == NAMES
    assert counts.tolist() == [[1, 1, 0], [0, 2, 0], [0, 0, 2]]


def test_every_labelled_face_is_counted_once_and_no_other():
    labels = NAMES * 5 + ["", "sad", ""]
    _, counts = emotions.confusion(faces(labels), np.random.default_rng(0).normal(size=(18, 4)))
    assert counts.sum(axis=1).tolist() == [5, 5, 6]


def test_without_two_emotions_there_is_nothing_to_confuse():
    x = np.zeros((18, 2))
    assert emotions.confusion(faces([""] * 18), x) is None
    assert emotions.confusion(faces(["sad"] * 12 + ["happy"] * 6), x) is None


def test_figure_is_darkest_where_the_share_is_largest(tmp_path):
    figures.confusion(tmp_path / "confusion.png", ["happy", "sad"], np.array([[1, 0], [300, 900]]))
    with Image.open(tmp_path / "confusion.png") as image:
        blue = np.asarray(image.convert("RGB"))[:, :, 0]
    darkest = np.argwhere(blue < 20)
    # Row percents: 100 of the one happy face, 75 of 1,200 sad ones. By counts the second would be darker.
    assert darkest[:, 0].mean() < blue.shape[0] / 2
    assert darkest[:, 1].mean() < blue.shape[1] / 2
