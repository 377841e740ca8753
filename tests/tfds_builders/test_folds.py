"""The published parts against numbers counted by others; folds by subject."""

import csv

import numpy as np
import pytest

from tfds_builders import folds

# Coded frames of each subject and of each part, as counted on ME-GraphAU's lists of images.
BP4D_FRAMES = """
F001 3934 F002 3937 F003 3700 F004 3737 F005 3915 F006 3576 F007 3573 F008 3695 F009 3297 F010 3266 F011 3732
F012 3543 F013 3434 F014 3490 F015 3451 F016 3510 F017 3823 F018 3525 F019 3489 F020 3646 F021 3447 F022 3593
F023 3726 M001 4153 M002 3833 M003 3379 M004 3521 M005 3271 M006 3572 M007 3684 M008 3291 M009 3290 M010 3298
M011 3469 M012 3609 M013 3613 M014 3483 M015 3664 M016 3648 M017 3542 M018 3488
"""


def test_parts_of_bp4d_add_up_to_the_published_numbers_of_frames():
    words = BP4D_FRAMES.split()
    frames = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    parts = folds.read("bp4d")
    assert sorted(subject for part in parts.values() for subject in part) == sorted(frames)
    assert [sum(frames[subject] for subject in part) for part in parts.values()] == [50_631, 50_182, 46_034]


def test_parts_of_disfa_hold_its_27_subjects_once():
    parts = folds.read("disfa")
    numbers = [*range(1, 14), 16, 17, 18, 21, *range(23, 33)]
    assert sorted(s for part in parts.values() for s in part) == [f"SN{number:03d}" for number in numbers]
    # 4,845 labels of each subject but one: 43,604, 43,605 and 43,605 frames are published.
    assert [4845 * len(part) - ("SN010" in part) for part in parts.values()] == [43_604, 43_605, 43_605]


def test_parts_of_gft_keep_groups_together():
    parts = folds.read("gft")
    assert {name: len(part) for name, part in parts.items()} == {"train": 60, "validation": 18, "test": 18}
    everyone = [subject for part in parts.values() for subject in part]
    assert sorted(everyone) == [f"{group:03d}{seat}" for group in range(1, 33) for seat in "ABC"]
    groups = [{subject[:3] for subject in part} for part in parts.values()]
    assert sum(map(len, groups)) == 32


def test_every_row_tells_its_source_and_how_sure_it_is():
    with folds.TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            assert row["source"]
            assert row["certainty"]
    assert folds.part_of("gft")["019C"] == "test"
    with pytest.raises(KeyError, match=r"no published folds of 'rafdb' .* by_subject"):
        folds.read("rafdb")


def test_by_subject_is_exclusive_complete_balanced_and_always_the_same():
    subjects = np.random.default_rng(0).integers(0, 40, 1000).astype(str)
    found = folds.by_subject(subjects, 4)
    for (train, test), (train_again, test_again) in zip(found, folds.by_subject(subjects, 4), strict=True):
        assert not set(subjects[train]) & set(subjects[test])
        assert sorted([*train, *test]) == list(range(1000))
        assert 230 <= len(test) <= 270
        np.testing.assert_array_equal(train, train_again)
        np.testing.assert_array_equal(test, test_again)
    assert sorted(row for _, test in found for row in test) == list(range(1000))
    with pytest.raises(ValueError, match="41 folds by subject need 41 people or more, and there are 40"):
        folds.by_subject(subjects, 41)
