"""Which subjects are trained and which are tested on: published parts of data sets, and folds for other sets.

The published ones are data, `folds.tsv`, with their sources. Not for splitting by image: faces of one person
in training and test make a detector look better than it is.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import GroupKFold

from tfds_builders import tables

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
    columns = {"dataset": str, "part": str, "subjects": str.split}
    rows = [row for row in tables.records(TABLE, columns) if row["dataset"] == dataset]
    if not rows:
        raise KeyError(f"no published folds of {dataset!r} in {TABLE.name}: use by_subject")
    return {row["part"]: tuple(row["subjects"]) for row in rows}


def part_of(dataset: str) -> dict[str, str]:
    """Returns the part of each subject of a data set that `read` knows."""
    return {subject: part for part, subjects in read(dataset).items() for subject in subjects}


def by_subject(subjects: Sequence[str], count: int = 3) -> list[tuple[np.ndarray, np.ndarray]]:
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
        raise ValueError(
            f"{count} folds by subject need {count} people or more, and there are {number}: add people, or a "
            "test split"
        )
    return list(GroupKFold(count).split(np.zeros(len(subjects)), groups=np.asarray(subjects)))
