"""The landmarks of SyntheticFaces lie where eyes and mouth are seen: found in the pixels, not in the rig."""

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from keras_emoco import align
from tfds_builders.synthetic_faces import paint
from tfds_builders.synthetic_faces.faces import Face, sample_face
from tfds_builders.synthetic_faces.render import render
from tfds_builders.synthetic_faces.rig import landmarks, pose

ROWS, COLUMNS = np.mgrid[:128, :128] + 0.5  # the middles of the pixels
BLACK, WHITE = (0.0, 0.0, 0.0), (250.0, 250.0, 250.0)


def without_noise(face: Face) -> Face:
    return dataclasses.replace(face, shot=dataclasses.replace(face.shot, noise=0.0))


# Turned, nodding and tilted heads with any expression; nothing before the eyes or the mouth.
FACES = [
    without_noise(face)
    for face in (sample_face(subject, 1) for subject in range(0, 150, 2))
    if not face.shot.occlusion and not face.identity.glasses
]


def seen(face: Face, part: str, prepare: Callable = lambda colour: None) -> np.ndarray:
    """How much of each pixel is of the part with this colour, 0 to about 1: it is drawn black, then white."""
    images = []
    for colour in (BLACK, WHITE):
        prepare(colour)
        identity = dataclasses.replace(face.identity, **{part: colour})
        images.append(render(dataclasses.replace(face, identity=identity)).astype(float))
    changed = np.abs(images[1] - images[0]).max(axis=-1)
    return changed / np.quantile(changed[changed > 5], 0.8)


def test_eyes_are_the_middle_of_what_is_seen_between_the_lids(monkeypatch):
    offsets = []
    for face in FACES:
        eyes = seen(face, "iris", lambda colour: monkeypatch.setattr(paint, "SCLERA", colour)) > 0.5
        for x, y in landmarks(pose(face))[:2]:
            y_seen, x_seen = np.nonzero(eyes & (np.hypot(COLUMNS - x, ROWS - y) < 16))
            middle = [(pixels.min() + pixels.max() + 1) / 2 for pixels in (x_seen, y_seen)]
            offsets.append(np.subtract(middle, (x, y)))
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.3
    assert np.quantile(np.abs(offsets), 0.95) < 0.9


def test_irises_that_look_ahead_lie_under_the_eyes():
    for face in FACES[:20]:
        face = dataclasses.replace(face, shot=dataclasses.replace(face.shot, gaze=(0.0, 0.0)))
        iris = seen(face, "iris")
        for x, y in landmarks(pose(face))[:2]:
            near = iris * (np.hypot(COLUMNS - x, ROWS - y) < 9)
            middle = np.array([(near * COLUMNS).sum(), (near * ROWS).sum()]) / near.sum()
            assert np.linalg.norm(middle - (x, y)) < 2.2, face.subject


def test_mouth_corners_are_the_ends_of_what_is_seen_of_the_lips():
    offsets = []
    for face in FACES:
        y, x = np.nonzero(seen(face, "lips") > 0.5)
        left, right = landmarks(pose(face))[3:].astype(float)
        along = (right - left) / np.linalg.norm(right - left)
        ends = np.stack([x + 0.5, y + 0.5], axis=1) @ along
        offsets.append([ends.min() - 0.5 - left @ along, right @ along - ends.max() - 0.5])
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.3
    assert np.median(np.abs(offsets)) < 0.6


def test_a_detector_of_photographed_faces_agrees():
    pytest.importorskip("mtcnn", reason="needs the extra keras-emoco[align]")
    faces = [sample_face(subject, 0) for subject in range(120)]
    errors = []
    for face, found in zip(faces, align.Detector().detect([render(face) for face in faces]), strict=True):
        if found:
            points = landmarks(pose(face))
            distance = np.linalg.norm(found[0].landmarks - points, axis=1)
            errors.append(distance.mean() / np.linalg.norm(points[1] - points[0]))
    assert len(errors) >= 0.97 * len(faces)
    assert np.median(errors) <= 0.06
