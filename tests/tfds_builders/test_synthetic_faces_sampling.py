"""The people, expressions and action units of SyntheticFaces, against FACS, AffectNet's counts and a hash."""

import collections
import functools
import hashlib

import numpy as np
import pytest

from tfds_builders.synthetic_faces.dice import Dice
from tfds_builders.synthetic_faces.expressions import EXPRESSIONS, PROTOTYPES
from tfds_builders.synthetic_faces.faces import Face, plain_face, sample_face
from tfds_builders.synthetic_faces.shapes import ACTION_UNITS
from tfds_builders.synthetic_faces.synthetic_faces_dataset_builder import (
    FACES_PER_SUBJECT,
    OCCURRENCE_INTENSITY,
    SUBJECTS,
)

# Action units without which a face is hardly read as the expression (EMFACS), and how often they occur in it.
KEY_UNITS = {"happy": (6, 12), "sad": (1, 4, 15), "surprise": (1, 2, 5, 25, 26), "fear": (1, 2, 4, 5, 20),
             "disgust": (9, 10, 17), "anger": (4, 7)}  # fmt: skip


@functools.cache
def faces(split: str) -> list[Face]:
    return [sample_face(subject, index) for subject in SUBJECTS[split] for index in range(FACES_PER_SUBJECT)]


def occurrence(split: str) -> np.ndarray:
    return np.array([face.intensities for face in faces(split)]) >= OCCURRENCE_INTENSITY


def test_parameters_are_the_same_on_every_machine():
    sample = [sample_face(subject, index) for subject in (0, 1, 999, 1199) for index in (0, 7, 19)]
    assert (
        hashlib.sha256(repr(sample).encode()).hexdigest()
        == "12a2d373d3fc965a6929a44811e805d21054b90038f31e9b402ba1b972d51ba5"
    )


def test_dice_draw_the_published_bits_of_pcg64():
    bits = np.random.PCG64([3, 5]).random_raw(4)
    dice = Dice(3, 5)
    np.testing.assert_array_equal([dice.uniform(0, 1) for _ in range(4)], (bits >> 11) * 2.0**-53)


def test_dice_follow_their_distributions():
    dice = Dice(1, 1)
    bells = np.array([dice.bell(5, 2) for _ in range(20000)])
    assert bells.mean() == pytest.approx(5, abs=0.06)
    assert bells.std() == pytest.approx(2, abs=0.05)
    assert np.abs(bells - 5).max() <= 6
    picks = collections.Counter(dice.pick((1, 0, 3)) for _ in range(20000))
    assert picks[1] == 0
    assert picks[2] / 20000 == pytest.approx(0.75, abs=0.015)
    assert dice.noise(200, 200).std() == pytest.approx(1, abs=0.02)


def test_sizes_and_no_person_in_two_splits():
    assert (len(faces("train")), len(faces("test"))) == (20000, 4000)
    people = {split: {face.subject for face in faces(split)} for split in SUBJECTS}
    assert (len(people["train"]), len(people["test"])) == (1000, 200)
    assert not people["train"] & people["test"]
    looks = collections.defaultdict(set)
    for split in SUBJECTS:
        for face in faces(split)[::FACES_PER_SUBJECT]:
            looks[face.identity].add(face.subject)
    assert all(len(subjects) == 1 for subjects in looks.values())


def test_a_person_looks_the_same_in_all_photographs_and_no_photograph_comes_twice():
    album = faces("test")[:FACES_PER_SUBJECT]
    assert len({face.identity for face in album}) == 1
    assert len({face.shot for face in album}) == FACES_PER_SUBJECT


@pytest.mark.parametrize("split", ["train", "test"])
def test_expressions_are_as_imbalanced_as_in_affectnet(split):
    counts = collections.Counter(face.expression for face in faces(split))
    # The seven classes of the manually annotated training set.
    share = np.array([74874, 134415, 25459, 14090, 6378, 3803, 24882]) / 283901
    expected = len(faces(split)) * share
    found = np.array([counts[expression] for expression in EXPRESSIONS])
    assert np.all(np.abs(found - expected) < 4 * np.sqrt(expected * (1 - share)))
    assert found.min() >= 30


@pytest.mark.parametrize("split", ["train", "test"])
def test_each_action_unit_is_common_enough_to_be_learnt_and_takes_every_intensity(split):
    rates = occurrence(split).mean(0)
    assert rates.min() > 0.08
    assert rates.max() < 0.5
    intensities = np.array([face.intensities for face in faces(split)])
    assert intensities.shape[1] == len(ACTION_UNITS) == 16
    for unit, column in zip(ACTION_UNITS, intensities.T, strict=True):
        assert set(np.unique(column)) == {0, 1, 2, 3, 4, 5}, unit


def test_the_expression_shifts_the_action_units_but_does_not_determine_them():
    happened = occurrence("train")
    expressions = np.array([face.expression for face in faces("train")])
    for expression in EXPRESSIONS:
        rates = dict(zip(ACTION_UNITS, happened[expressions == expression].mean(0), strict=True))
        assert all(0.005 < rate < 0.95 for rate in rates.values()), (expression, rates)
        for unit in KEY_UNITS.get(expression, ()):
            elsewhere = happened[expressions == "neutral", ACTION_UNITS.index(unit)].mean()
            assert rates[unit] > max(0.28, 5 * elsewhere), (expression, unit)
        combinations = {tuple(row) for row in happened[expressions == expression]}
        assert len(combinations) > 0.25 * (expressions == expression).sum() or len(combinations) > 100


def test_some_neutral_faces_are_not_still_but_none_is_intense():
    neutral = np.array([face.intensities for face in faces("train") if face.expression == "neutral"])
    assert 0.5 < (neutral == 0).all(1).mean() < 0.7
    assert neutral.max() <= 3


def test_combinations_that_facs_rules_out_do_not_occur():
    units = {unit: occurrence("train")[:, place] for place, unit in enumerate(ACTION_UNITS)}
    assert not (units[24] & units[25]).any()  # lips pressed together do not part
    assert (units[25] | ~units[26]).all()


def test_prototypes_are_distributions_over_known_action_units():
    assert tuple(PROTOTYPES) == EXPRESSIONS
    for prototypes in PROTOTYPES.values():
        assert sum(share for share, _ in prototypes) == pytest.approx(1)
        assert all(set(units) <= set(ACTION_UNITS) for _, units in prototypes)


@pytest.mark.parametrize("units", [{3: 2}, {12: 6}, {12: -1}])
def test_plain_face_names_the_bad_action_unit(units):
    unit, intensity = next(iter(units.items()))
    with pytest.raises(ValueError, match=rf"got AU {unit} at {intensity}"):
        plain_face(0, units)
