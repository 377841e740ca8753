"""Linear probe of a frozen encoder for action units: faces, features, one logistic regression for each unit.

The program that writes scores and tables is `trainers.evaluate`.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import keras_emoco
from keras_emoco import augment
from tfds_builders import folds
from trainers import data, scores

# Inverse strengths of the L2 penalty, scikit-learn's C.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
CERTAIN = 100.0  # a logit


@dataclasses.dataclass(frozen=True)
class Faces:
    """Faces with coded action units, and the folds that no subject crosses.

    Attributes:
        examples: one `tf.data.Dataset` over all faces.
        action_units: numbers of the `A` units.
        occurrence: `(n, A)` of 0 and 1.
        coded: `(n, A)` bool: which of them the coders judged.
        subjects: `(n,)`: who it is.
        emotions: `(n,)`: names; empty where the data does not tell.
        folds: list of (training rows, test rows).
    """

    examples: tf.data.Dataset
    action_units: list[int]
    occurrence: np.ndarray
    coded: np.ndarray
    subjects: np.ndarray
    emotions: np.ndarray
    folds: list[tuple[np.ndarray, np.ndarray]]


def load(builder, max_per_split: int | None = None) -> Faces:
    """The faces of all splits of a data set with action units.

    Args:
        builder: a prepared TFDS builder.
        max_per_split: use so many faces of each split, the first; None for all.

    Raises:
        ValueError: the data set has no action units, too few people, an empty test split, or a person in
            both the test split and another.
    """
    name = builder.info.full_name
    units = data.action_unit_numbers(builder)
    # The test split last, whatever the builder's order.
    splits = sorted(builder.info.splits, key=lambda name: name == "test")
    parts = [data.examples(builder, split).take(max_per_split or -1) for split in splits]
    rows = [labels(part) for part in parts]
    flat = [row for part in rows for row in part]
    occurrence = np.stack([row["action_units"]["occurrence"] for row in flat]).astype(int)
    coded = [row["action_units"].get("coded", np.ones(occurrence.shape[1])) for row in flat]
    subjects = np.array([row["subject"] for row in flat])
    train_and_test = folds_of(splits, np.repeat(splits, [len(part) for part in rows]), subjects, name)
    scores.check_folds(subjects, train_and_test)
    examples = parts[0]
    for part in parts[1:]:
        examples = examples.concatenate(part)
    return Faces(
        examples,
        units,
        occurrence,
        np.stack(coded).astype(bool),
        subjects,
        np.array(data.emotions(builder, [row["emotion"] for row in flat])),
        train_and_test,
    )


def folds_of(splits: list[str], split_of: np.ndarray, subjects: np.ndarray, name: str) -> list:
    """The folds of a data set with these splits.

    With a `test` split the data set's own partition is the one fold, as the paper has it for GFT. Splits
    `part1`, `part2`, ... are published folds, DISFA's and BP4D's: each is tested once. Else there are three
    folds by subject.

    Args:
        splits: names of the splits.
        split_of: `(n,)`: name of the split that a face is in.
        subjects: `(n,)`: who it is.
        name: of the data set, for the message.

    Raises:
        ValueError: there are too few people for three folds.
    """
    tested = ["test"] if "test" in splits else [split for split in splits if split.startswith("part")]
    if tested:
        return [(np.flatnonzero(split_of != split), np.flatnonzero(split_of == split)) for split in tested]
    try:
        return folds.by_subject(subjects, 3)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def subset(examples: tf.data.Dataset, rows: np.ndarray) -> tf.data.Dataset:
    """`(row, example)` of some rows, in the order of the data."""
    chosen = np.zeros(int(examples.cardinality()), bool)
    chosen[rows] = True
    chosen = tf.constant(chosen)
    found = examples.enumerate().filter(lambda row, _: chosen[row])
    return found.apply(tf.data.experimental.assert_cardinality(int(np.count_nonzero(chosen))))


def labels(examples: tf.data.Dataset) -> list[dict]:
    """All that is told of each face, without its picture."""

    def without_image(example):
        return {name: value for name, value in example.items() if name != "image"}

    return list(examples.map(without_image).as_numpy_iterator())


def features(encoder: keras.Model, examples, image_size: int, center_crop: bool) -> np.ndarray:
    """`(n, F)` float32 features of the fixed view of each example, in order."""
    batches = augment.images(examples, image_size, 128, crop=center_crop)
    progress = keras.utils.Progbar(int(examples.cardinality()), unit_name="face")
    found = []
    for views, _ in batches:
        # An encoder in bfloat16 gives a type that NumPy's files do not know.
        found.append(np.asarray(encoder.predict_on_batch(views.numpy()), np.float32))
        progress.add(len(views))
    return np.concatenate(found)


def select(faces: Faces, action_units: list[int]) -> Faces:
    """The same faces with some of the action units, in the order asked for.

    Raises:
        ValueError: the data has no such unit.
    """
    missing = [unit for unit in action_units if unit not in faces.action_units]
    if missing:
        raise ValueError(
            f"AU{missing[0]} is not in the data: ask for some of "
            f"{', '.join(f'AU{unit}' for unit in faces.action_units)}"
        )
    columns = [faces.action_units.index(unit) for unit in action_units]
    return dataclasses.replace(
        faces,
        action_units=list(action_units),
        occurrence=faces.occurrence[:, columns],
        coded=faces.coded[:, columns],
    )


def within(faces: Faces, emotion: str) -> Faces:
    """The same faces and folds, of which only those of one emotion count as coded.

    Raises:
        ValueError: no face has that emotion.
    """
    chosen = faces.emotions == emotion
    if not chosen.any():
        names = ", ".join(sorted({str(name) for name in faces.emotions if name})) or "none"
        raise ValueError(f"no face of the data shows {emotion!r}: its emotions are {names}")
    return dataclasses.replace(faces, coded=faces.coded & chosen[:, np.newaxis])


def held_out(faces: Faces) -> Faces:
    """The same faces with a third of the people of each fold's training faces for its test faces.

    A recipe is chosen on these; the test faces of the fold are left out.
    """
    parts = []
    for train, _ in faces.folds:
        (fit, test), *_ = folds.by_subject(faces.subjects[train], 3)
        parts.append((train[fit], train[test]))
    return dataclasses.replace(faces, folds=parts)


def fit_linear(faces: Faces, x: np.ndarray, train: np.ndarray, class_weight: str | None = None) -> list:
    """One classifier for each action unit, fitted to the training faces that have it coded.

    Logistic regression on standardised features; its L2 penalty is chosen among `PENALTIES` by the
    likelihood of held-out people of the training faces. A unit that is always or never present there is
    predicted so.

    Args:
        faces: labels.
        x: `(n, F)` frozen features.
        train: rows.
        class_weight: as scikit-learn has it: None, or "balanced".

    Raises:
        ValueError: a unit varies, but among the faces of one person alone.
    """
    classifiers = []
    for unit, number in enumerate(faces.action_units):
        fit = train[faces.coded[train, unit]]
        y = faces.occurrence[fit, unit]
        if len(np.unique(y)) < 2:
            constant = DummyClassifier(strategy="constant", constant=int(y.any()))
            classifiers.append(constant.fit(x[train[:1]], [int(y.any())]))
            continue
        people = faces.subjects[fit]
        held_out_folds = min(3, len(np.unique(people)))
        if held_out_folds < 2:
            raise ValueError(f"AU{number} is coded for one person only of the training faces: leave it out")
        classifier = GridSearchCV(
            make_pipeline(
                StandardScaler(), LogisticRegression(solver="newton-cholesky", class_weight=class_weight)
            ),
            {"logisticregression__C": PENALTIES},
            scoring="neg_log_loss",
            cv=list(GroupKFold(held_out_folds).split(fit, groups=people)),
        )
        # Products of this size lose more to the threads of BLAS than they gain: one is seven times as fast.
        with threadpool_limits(1):
            classifiers.append(classifier.fit(x[fit], y))
    return classifiers


def predict(classifiers: list, x: np.ndarray) -> np.ndarray:
    """`(n, A)` probabilities of the classifiers of `fit_linear`."""
    # One that knows a single class gives it the probability 1: times the class, that is 0 or 1.
    return np.stack([c.predict_proba(x)[:, -1] * c.classes_[-1] for c in classifiers], axis=1)


def detector(encoder: keras.Model, classifiers: list, faces: Faces) -> keras_emoco.AUDetector:
    """The classifiers of `fit_linear` on top of their encoder, as one model of images.

    Args:
        encoder: gave the features; it is frozen.
        classifiers: of `fit_linear`.
        faces: whose action units they are for.
    """
    found = keras_emoco.AUDetector(encoder, faces.action_units, frozen=True)
    kernel = np.zeros((encoder.output_shape[-1], len(classifiers)))
    bias = np.zeros(len(classifiers))
    for unit, classifier in enumerate(classifiers):
        if len(classifier.classes_) == 1:
            # Of a unit that never varied: as near to 0 or 1 as float32 has it.
            bias[unit] = np.where(classifier.classes_[0], 1, -1) * CERTAIN
            continue
        scaler, regression = (step for _, step in classifier.best_estimator_.steps)
        kernel[:, unit] = regression.coef_[0] / scaler.scale_
        bias[unit] = regression.intercept_[0] - kernel[:, unit] @ scaler.mean_
    found.classifier.set_weights([kernel, bias])
    return found


def linear_probe(faces: Faces, x: np.ndarray) -> np.ndarray:
    """F1 of each action unit in percent, threshold 0.5, mean over folds; see `scores.per_fold`.

    Args:
        faces: labels and folds.
        x: `(n, F)` frozen features.

    Returns:
        `(A,)`.
    """
    probabilities = [predict(fit_linear(faces, x, train), x[test]) for train, test in faces.folds]
    found = scores.per_fold(faces.occurrence, probabilities, faces.coded, faces.subjects, faces.folds)
    return 100 * scores.mean(found["f1"])


def table(faces: Faces, f1: dict[str, np.ndarray]) -> str:
    """A text table: one row for each action unit, then the average; one column for each encoder."""
    prevalence = [
        100 * faces.occurrence[faces.coded[:, unit], unit].mean() for unit in range(len(faces.action_units))
    ]
    lines = ["AU    prevalence  " + "  ".join(f"{name:>10}" for name in f1)]
    for unit, number in enumerate(faces.action_units):
        columns = "  ".join(f"{score[unit]:10.1f}" for score in f1.values())
        lines.append(f"AU{number:<3} {prevalence[unit]:10.1f}%  {columns}")
    columns = "  ".join(f"{score.mean():10.1f}" for score in f1.values())
    lines.append(f"avg   {np.mean(prevalence):10.1f}%  {columns}")
    return "\n".join(lines)
