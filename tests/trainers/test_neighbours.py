"""Nearest faces of other people within an emotion, by hand."""

import numpy as np
import tensorflow as tf
from PIL import Image

from trainers import figures, neighbours, probe


def faces():
    png = [tf.io.encode_png(np.full((8, 8, 3), 30 * i, np.uint8)).numpy() for i in range(7)]
    return probe.Faces(
        tf.data.Dataset.from_tensor_slices({"image": png}),
        [1, 12],
        np.array([[0, 0], [1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [1, 0]]),
        np.array([[True, True]] * 6 + [[True, False]]),
        np.array(["ann", "bob", "ann", "bob", "eve", "kim", "kim"]),
        np.array(["sad", "sad", "sad", "sad", "sad", "happy", "happy"]),
        [(np.array([0, 2, 4, 6]), np.array([1, 3, 5]))],
    )


def test_nearest_are_of_other_people_in_the_same_emotion():
    x = np.array([[1, 0.2], [1, 0], [0, 1], [1, 0], [30, 3], [1, 0], [1, 0]], np.float32)
    sad, happy = sorted(neighbours.nearest(faces(), x), key=len, reverse=True)
    # Row 3 is bob himself; of the others 4 is nearest by angle, though longest.
    assert sad.tolist() == [1, 4, 0, 2]
    assert happy.tolist() == [5], "nobody else is happy"
    assert neighbours.nearest(faces(), x, count=1)[-1].tolist() == [1, 4]


def test_pictures_and_captions_are_those_of_the_rows(tmp_path):
    shown = neighbours.pictures(faces(), np.array([4, 1]))
    assert {row: int(picture[0, 0, 0]) for row, picture in shown.items()} == {1: 30, 4: 120}
    assert [neighbours.caption(faces(), row) for row in (1, 0, 6)] == ["1 12", "-", "1"]
    figures.neighbours(tmp_path / "sheet.png", [("sad", [(shown[1], "1 12"), (shown[4], "-")])])
    with Image.open(tmp_path / "sheet.png") as picture:
        colours = {tuple(c) for c in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    assert {(30, 30, 30), (120, 120, 120)} <= colours
