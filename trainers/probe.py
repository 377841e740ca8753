"""Linear probe of a frozen encoder for action units: features, one logistic regression each, F1.

`python -m trainers.probe --encoder=encoder.keras --dataset=action_unit_folder --manual_dir=DIR`
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_emoco import augment
from trainers import data

# Inverse strengths of the L2 penalty, scikit-learn's C.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)


@dataclasses.dataclass(frozen=True)
class Faces:
    """Faces with coded action units, and the folds that no subject crosses.

    Attributes:
        examples: one `tf.data.Dataset` over all faces.
        action_units: numbers of the `A` units.
        occurrence: `(n, A)` of 0 and 1.
        coded: `(n, A)` bool: which of them the coders judged.
        subjects: `(n,)`: who it is.
        emotions: `(n,)` bytes or integers.
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

    With a `test` split the data set's own partition is the one fold; else three folds by subject, as in the
    paper's protocol for DISFA and BP4D.

    Args:
        builder: a prepared TFDS builder.
        max_per_split: use so many faces of each split, the first; None for all.

    Raises:
        ValueError: the data set has no action units.
    """
    if "action_units" not in builder.info.features:
        raise ValueError(f"{builder.info.full_name} has no action_units: probe another data set")
    # The test split last, whatever the builder's order.
    splits = sorted(builder.info.splits, key=lambda name: name == "test")
    parts = [data.examples(builder, split).take(max_per_split or -1) for split in splits]
    rows = [list(part.map(_without_image).as_numpy_iterator()) for part in parts]
    flat = [row for part in rows for row in part]
    occurrence = np.stack([row["action_units"]["occurrence"] for row in flat]).astype(int)
    coded = [row["action_units"].get("coded", np.ones(occurrence.shape[1])) for row in flat]
    subjects = np.array([row["subject"] for row in flat])
    if "test" in splits:
        index = np.arange(len(flat))
        test = index >= len(flat) - len(rows[-1])
        folds = [(index[~test], index[test])]
    else:
        folds = list(GroupKFold(3).split(occurrence, groups=subjects))
    examples = parts[0]
    for part in parts[1:]:
        examples = examples.concatenate(part)
    return Faces(
        examples,
        [int(unit) for unit in builder.info.metadata["action_units"]],
        occurrence,
        np.stack(coded).astype(bool),
        subjects,
        np.array([row["emotion"] for row in flat]),
        folds,
    )


def _without_image(example):
    return {name: value for name, value in example.items() if name != "image"}


def features(encoder: keras.Model, examples, image_size: int, center_crop: bool) -> np.ndarray:
    """`(n, F)` features of the fixed view of each example, in order."""
    batches = augment.images(examples, image_size, 128, crop=center_crop)
    progress = keras.utils.Progbar(int(examples.cardinality()), unit_name="face")
    found = []
    for views, _ in batches:
        found.append(np.asarray(encoder.predict_on_batch(views.numpy())))
        progress.add(len(views))
    return np.concatenate(found)


def linear_probe(faces: Faces, x: np.ndarray) -> np.ndarray:
    """F1 of each action unit in percent, threshold 0.5, mean over folds.

    Logistic regression on standardised features; its L2 penalty is chosen among `PENALTIES` by the
    likelihood of held-out people of the training fold, for each unit.

    A unit that has one class only among a fold's training faces is predicted as that class; one without
    positives in the test fold has F1 0, as scikit-learn's `zero_division=0`.

    Args:
        faces: labels and folds.
        x: `(n, F)` frozen features.

    Returns:
        `(A,)`.
    """
    scores = np.zeros((len(faces.folds), len(faces.action_units)))
    for fold, (train, test) in enumerate(faces.folds):
        for unit in range(len(faces.action_units)):
            fit = train[faces.coded[train, unit]]
            held_out = test[faces.coded[test, unit]]
            y = faces.occurrence[:, unit]
            predicted = np.full(len(held_out), y[fit][0])
            if len(np.unique(y[fit])) == 2:
                classifier = GridSearchCV(
                    make_pipeline(StandardScaler(), LogisticRegression(solver="newton-cholesky")),
                    {"logisticregression__C": PENALTIES},
                    scoring="neg_log_loss",
                    cv=list(GroupKFold(3).split(fit, groups=faces.subjects[fit])),
                )
                predicted = classifier.fit(x[fit], y[fit]).predict(x[held_out])
            scores[fold, unit] = 100 * f1_score(y[held_out], predicted, zero_division=0)
    return scores.mean(axis=0)


def table(faces: Faces, scores: dict[str, np.ndarray]) -> str:
    """A text table: one row for each action unit, then the average; one column for each encoder."""
    prevalence = [
        100 * faces.occurrence[faces.coded[:, unit], unit].mean() for unit in range(len(faces.action_units))
    ]
    lines = ["AU    prevalence  " + "  ".join(f"{name:>10}" for name in scores)]
    for unit, number in enumerate(faces.action_units):
        columns = "  ".join(f"{score[unit]:10.1f}" for score in scores.values())
        lines.append(f"AU{number:<3} {prevalence[unit]:10.1f}%  {columns}")
    columns = "  ".join(f"{score.mean():10.1f}" for score in scores.values())
    lines.append(f"avg   {np.mean(prevalence):10.1f}%  {columns}")
    return "\n".join(lines)


def main(_):
    """Load, encode, probe, print."""
    encoder = keras.saving.load_model(FLAGS.encoder, compile=False)
    builder = data.prepare(FLAGS.dataset, FLAGS.data_dir, FLAGS.manual_dir)
    faces = load(builder)
    image_size = encoder.input_shape[1]
    x = features(encoder, faces.examples, image_size, FLAGS.center_crop)
    print(table(faces, {"F1": linear_probe(faces, x)}))


if __name__ == "__main__":
    FLAGS = flags.FLAGS
    flags.DEFINE_string("encoder", None, "encoder.keras of a pretraining run", required=True)
    flags.DEFINE_string("dataset", "synthetic_faces", "TFDS name of faces with action units")
    flags.DEFINE_string("data_dir", None, "where TFDS keeps built data; default ~/tensorflow_datasets")
    flags.DEFINE_string("manual_dir", None, "where data that cannot be downloaded lies")
    flags.DEFINE_bool("center_crop", False, "use the central 224/256 of each picture, not the whole")
    app.run(main)
