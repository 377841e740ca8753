"""Which subjects are trained and which are tested on: published parts of data sets, and folds for other sets.

The published ones are data, `folds.tsv`, with their sources. Not for splitting by image: faces of one person
in training and test make a detector look better than it is.
"""

import csv
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from sklearn.model_selection import GroupKFold

Fold = tuple[np.ndarray, np.ndarray]

TABLE = pathlib.Path(__file__).with_name("folds.tsv")


def read(dataset: str) -> dict[str, tuple[str, ...]]:
    """Returns the subjects of each part of a data set; the source of each is in `folds.tsv`.

    In the three-fold protocol of BP4D and DISFA (JAA-Net, ECCV 2018, and what followed) each part is tested
    once, after training on the two others. Names of folds differ: ME-GraphAU's "fold1" tests part3.

    Args:
      dataset: `bp4d` or `disfa`, with parts `part1` to `part3`; or `gft`, with `train`, `validation` and
        `test`, of which the literature trains on the first two together.

    Raises:
      KeyError: there are no published parts of `dataset`.
    """
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["dataset"] == dataset]
    if not rows:
        raise KeyError(f"no published folds of {dataset!r} in {TABLE.name}: use by_subject")
    return {row["part"]: tuple(row["subjects"].split()) for row in rows}


def part_of(dataset: str) -> dict[str, str]:
    """Returns the part of each subject of a data set that `read` knows."""
    return {subject: part for part, subjects in read(dataset).items() for subject in subjects}


def leave_one_out(parts: Mapping[str, Iterable[str]], subjects: Sequence[str]) -> list[Fold]:
    """Returns the folds that test each part once and train on the others.

    Args:
      parts: Subjects of each part, as `read` returns them.
      subjects: `(n,)`, of each example.

    Returns:
      For each part the rows of the training and of the test examples, both int64 and ascending.

    Raises:
      ValueError: a subject is in no part or in two, or a part has no example.
    """
    owner = [(subject, part) for part, members in parts.items() for subject in members]
    part = dict(owner)
    if len(part) != len(owner):
        twice = sorted({s for s, p in owner if part[s] != p})
        raise ValueError(f"subjects in two parts: {', '.join(twice)}: keep each in one.")
    unknown = sorted({subject for subject in subjects if subject not in part})
    if unknown:
        raise ValueError(
            f"subjects in no part: {', '.join(unknown)}; the parts know {len(part)} subjects, such as "
            f"{next(iter(part), 'none')}: use the names of the data set's own, or by_subject."
        )
    of_row = np.array([part[subject] for subject in subjects])
    folds = [(np.flatnonzero(of_row != name), np.flatnonzero(of_row == name)) for name in parts]
    check(folds, subjects)
    return folds


def by_subject(subjects: Sequence[str], count: int = 3) -> list[Fold]:
    """Returns folds of about equally many examples in which no subject is both trained and tested on.

    Deterministic: scikit-learn's GroupKFold, which deals out the subjects from the one with most examples on.

    Args:
      subjects: `(n,)`, of each example.
      count: Number of folds, at most that of the subjects.

    Returns:
      For each fold the rows of the training and of the test examples, both int64 and ascending.

    Raises:
      ValueError: there are fewer subjects than folds.
    """
    number = len(set(subjects))
    if not 2 <= count <= number:
        raise ValueError(f"expected 2 to {number} folds, as there are {number} subjects; got {count}.")
    folds = list(GroupKFold(count).split(np.zeros(len(subjects)), groups=np.asarray(subjects)))
    check(folds, subjects)
    return folds


def check(folds: Sequence[Fold], subjects: Sequence[str]) -> None:
    """Refuses folds in which somebody is both trained and tested on, or is tested twice.

    Args:
      folds: Rows of the training and of the test examples, for each fold.
      subjects: `(n,)`, of each example.

    Raises:
      ValueError: naming the fold, counted from 1, and the subjects; or if there is nothing to train or test.
    """
    subjects = np.asarray(subjects)
    tested_in: dict[str, int] = {}
    for number, (train, test) in enumerate(folds, start=1):
        if not (len(train) and len(test)):
            raise ValueError(
                f"fold {number} trains on {len(train)} examples and tests {len(test)}: both must be there."
            )
        trained, tested = set(subjects[train].tolist()), set(subjects[test].tolist())
        if leaked := sorted(trained & tested):
            raise ValueError(
                f"fold {number} trains and tests on the same {len(leaked)} subjects: "
                f"{_some(leaked)}: keep all examples of a subject on one side."
            )
        if again := sorted(tested & tested_in.keys()):
            raise ValueError(
                f"fold {number} tests again on {_some(again)}, tested in fold {tested_in[again[0]]}: "
                "a subject counts once in the mean over folds."
            )
        tested_in.update(dict.fromkeys(tested, number))


def _some(subjects: list) -> str:
    return ", ".join(map(str, subjects[:5])) + (", ..." if len(subjects) > 5 else "")
