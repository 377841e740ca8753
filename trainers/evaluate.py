"""Evaluate an encoder on faces with action units, by the paper's linear or finetuning protocol (IV.C).

`python -m trainers.evaluate --encoder=encoder.keras --dataset=synthetic_faces --protocol=linear`. A killed
evaluation goes on when the same command is given again: folds that are done are not done again.
"""

import pathlib
import sys

import keras
import numpy as np
from absl import app, flags, logging

from trainers import (
    data,
    emotions,
    faults,
    features,
    figures,
    finetune,
    neighbours,
    probe,
    results,
    scores,
    workdir,
)

FLAGS = flags.FLAGS
FINETUNE_ONLY = ("seeds", "epochs", "batch_size", "base_learning_rate")


def define_flags():
    """What is evaluated, how, and where results go."""
    flags.DEFINE_string("encoder", None, "encoder.keras of a pretraining run", required=True)
    flags.DEFINE_string("dataset", "synthetic_faces", "TFDS name of faces with action units")
    flags.DEFINE_enum("protocol", "linear", ["linear", "finetune"], "frozen features, or the whole network")
    flags.DEFINE_list("action_units", None, "numbers of the units, e.g. 1,2,4; default all of the data")
    flags.DEFINE_string("threshold", "0.5", "probability, or 'train': of the best F1 on the training faces")
    flags.DEFINE_bool("balanced", False, "weigh present and absent faces of each unit equally in training")
    flags.DEFINE_integer("max_faces", None, "use at most so many faces of each split, the first")
    flags.DEFINE_list(
        "seeds", ["0"], "finetune once with each, e.g. 0,1,2 as the paper on GFT; mean over all"
    )
    recipe = finetune.Recipe(image_size=0)
    flags.DEFINE_integer("epochs", recipe.epochs, "finetune: passes over the training faces")
    flags.DEFINE_integer("batch_size", recipe.batch_size, "finetune: faces in one step")
    flags.DEFINE_float(
        "base_learning_rate", recipe.base_learning_rate, "finetune: at a batch of 256; cosine to zero"
    )
    flags.DEFINE_integer("image_size", None, "side of the images, for an encoder that takes any")
    flags.DEFINE_bool(
        "center_crop",
        None,
        "use the central 224/256 of each picture, not the whole; default as the encoder's run has it",
    )
    data.define_flags()
    flags.DEFINE_string(
        "workdir", None, "where results go; default runs/<protocol>-<dataset>-<encoder's hash>"
    )
    flags.DEFINE_string("cache_dir", "runs/features", "where features of the linear protocol are kept")
    flags.DEFINE_bool(
        "show_faces",
        False,
        "linear: draw faces of the data beside their nearest, neighbours.png; mind the data's licence",
    )
    flags.DEFINE_string("compare_to", None, "workdir of another evaluation, for a paired bootstrap")


def main(_):
    """Check everything, predict each fold, report."""
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    try:
        threshold = read_threshold(FLAGS.threshold)
        units, seeds = read_integers("action_units"), read_integers("seeds")
        check_flags()
        encoder, image_size = features.load_encoder(pathlib.Path(FLAGS.encoder), FLAGS.image_size)
        if FLAGS.center_crop is None:
            FLAGS.center_crop = features.center_crop(pathlib.Path(FLAGS.encoder))
        digest = features.digest(pathlib.Path(FLAGS.encoder))
        builder = data.prepare(FLAGS.dataset, FLAGS.data_dir, FLAGS.manual_dir)
        faces = probe.load(builder, FLAGS.max_faces)
        faces = probe.select(faces, units) if units else faces
        other = FLAGS.compare_to and results.load(pathlib.Path(FLAGS.compare_to) / "predictions.npz")
        if other:
            repeats = len(seeds) if FLAGS.protocol == "finetune" else 1
            results.check_comparable(
                other,
                faces.action_units,
                faces.occurrence,
                faces.coded,
                faces.subjects,
                faces.folds * repeats,
            )
        name = f"{FLAGS.protocol}-{FLAGS.dataset.replace('/', '-')}-{digest[:8]}"
        directory = pathlib.Path(FLAGS.workdir or f"runs/{name}")
        workdir.open_workdir(directory, settings(digest, image_size, builder, faces))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    announce(faces, builder, directory)
    try:
        if FLAGS.protocol == "linear":
            cache = pathlib.Path(FLAGS.cache_dir)
            x = features.cached(cache, digest, encoder, builder, faces, image_size, FLAGS.center_crop)
            runs = linear_runs(faces, x)
            found = emotions.confusion(faces, x)
            if found:
                figures.confusion(directory / "confusion.png", *found)
            if FLAGS.show_faces:
                draw_neighbours(directory / "neighbours.png", faces, x)
        else:
            runs = finetune_runs(faces, image_size, seeds)
        report(directory, predict_folds(faces, runs, threshold, directory), builder, other)
    except Exception as error:
        faults.end(error)


def check_flags():
    """Refuse flags without use and values out of range.

    Raises:
        ValueError: a flag of the other protocol, or a number that is not positive.
    """
    for name in FINETUNE_ONLY:
        if FLAGS.protocol == "linear" and FLAGS[name].present:
            raise ValueError(f"--{name} is for --protocol=finetune: leave it out, or finetune")
    if FLAGS.protocol == "finetune" and FLAGS.show_faces:
        raise ValueError("--show_faces is for --protocol=linear: leave it out, or evaluate frozen features")
    for name in ("epochs", "batch_size", "base_learning_rate", "max_faces", "image_size"):
        if FLAGS[name].value is not None and not FLAGS[name].value > 0:
            raise ValueError(f"--{name} must be positive; got {FLAGS[name].value}")


def read_integers(name: str) -> list[int] | None:
    """The numbers of a list flag.

    Raises:
        ValueError: something else is in it.
    """
    value = FLAGS[name].value
    if value is None:
        return None
    if not value or not all(item.strip().isdecimal() for item in value):
        raise ValueError(f"--{name} must be numbers with commas between them; got {','.join(value)}")
    return [int(item) for item in value]


def read_threshold(text: str) -> float | None:
    """The number, or None for "train".

    Raises:
        ValueError: neither.
    """
    if text == "train":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise ValueError(f"--threshold must be a probability in [0, 1) or 'train'; got {text}")
    return value


def settings(encoder_digest, image_size, builder, faces) -> dict:
    """What the results depend on."""
    names = ["protocol", "threshold", "balanced", "center_crop"]
    if FLAGS.protocol == "finetune":
        names += FINETUNE_ONLY
    return {
        "encoder": encoder_digest,
        "dataset": builder.info.full_name,
        "faces": len(faces.subjects),
        "action_units": faces.action_units,
        "image_size": image_size,
        **{name: FLAGS[name].value for name in names},
    }


def announce(faces, builder, directory):
    """Print what will be evaluated, and how."""
    print(f"{FLAGS.protocol} protocol on {keras.backend.backend()}; results in {directory}")
    people = len(np.unique(faces.subjects))
    print(f"  {builder.info.full_name}: {len(faces.subjects)} faces of {people} people")
    for number, (train, test) in enumerate(faces.folds, start=1):
        print(f"  fold {number}: {len(train)} faces to train on, {len(test)} to test on")


def linear_runs(faces, x) -> list:
    """For each fold (name, training rows, test rows, function from training rows to a predictor)."""

    def fit(train):
        weight = "balanced" if FLAGS.balanced else None
        classifiers = probe.fit_linear(faces, x, train, weight)
        return lambda rows: probe.predict(classifiers, x[rows])

    return [(f"fold{k}", train, test, fit) for k, (train, test) in enumerate(faces.folds, start=1)]


def draw_neighbours(path, faces, x):
    """Write the sheet of faces and their nearest."""
    rows = neighbours.nearest(faces, x)
    shown = neighbours.pictures(faces, np.concatenate(rows))
    figures.neighbours(
        path,
        [
            (faces.emotions[row[0]], [(shown[face], neighbours.caption(faces, face)) for face in row])
            for row in rows
        ],
    )


def finetune_runs(faces, image_size, seeds) -> list:
    """The same for each seed and fold; the encoder is loaded anew for each."""
    recipe = finetune.Recipe(
        image_size,
        FLAGS.center_crop,
        FLAGS.epochs,
        FLAGS.batch_size,
        FLAGS.base_learning_rate,
        FLAGS.balanced,
    )

    def fit_with(seed):
        def fit(train):
            keras.utils.clear_session()
            encoder, _ = features.load_encoder(pathlib.Path(FLAGS.encoder), FLAGS.image_size)
            detector = finetune.train(encoder, faces, train, recipe, seed)
            return lambda rows: finetune.predict(detector, faces, rows, recipe)

        return fit

    return [
        (f"seed{seed}-fold{k}", train, test, fit_with(seed))
        for seed in seeds
        for k, (train, test) in enumerate(faces.folds, start=1)
    ]


def predict_folds(faces, runs, threshold, directory) -> results.Predictions:
    """Train and predict each fold that has no file yet; the test rows are seen by the predictor alone."""
    probabilities, thresholds = [], []
    for name, train, test, fit in runs:
        path = directory / "folds" / f"{name}.npz"
        if path.exists():
            print(f"{name}: done before")
        else:
            print(f"{name}: {len(train)} faces")
            predictor = fit(train)
            chosen = np.full(len(faces.action_units), threshold, float)
            if threshold is None:
                chosen = train_thresholds(faces, train, predictor(train))
            workdir.write_arrays(path, probabilities=predictor(test), thresholds=chosen)
        arrays = workdir.read_arrays(path)
        probabilities.append(arrays["probabilities"])
        thresholds.append(arrays["thresholds"])
    return results.Predictions(
        faces.action_units,
        faces.occurrence,
        faces.coded,
        faces.subjects,
        [(train, test) for _, train, test, _ in runs],
        probabilities,
        np.stack(thresholds),
    )


def train_thresholds(faces, train, probabilities):
    """`(A,)`: the threshold of the best F1 on the training faces themselves."""
    return np.array(
        [
            scores.best_threshold(faces.occurrence[train, unit][coded], probabilities[coded, unit])
            for unit, coded in enumerate(faces.coded[train].T)
        ]
    )


def report(directory, predictions, builder, other):
    """Print the table; write predictions, scores and the picture."""
    results.save(directory / "predictions.npz", predictions)
    summary = results.summarize(predictions)
    summary.update(dataset=builder.info.full_name, protocol=FLAGS.protocol)
    if other:
        summary["comparison"] = {"to": FLAGS.compare_to, **results.compare(predictions, other)}
    results.write(directory, summary)
    table = results.rows(summary, builder.info.full_name, FLAGS.protocol == "finetune")
    text = results.text_table(summary, table)
    workdir.write_text(directory / "f1.txt", text + "\n")
    title = f"{builder.info.full_name}, {FLAGS.protocol} protocol"
    figures.evaluation(directory / "scores.png", predictions, table, title)
    print(f"F1 in %, {title}, mean of {summary['folds']} folds\n{text}")
    if other:
        c = summary["comparison"]
        print(
            f"average F1 minus that of {FLAGS.compare_to}: {c['difference']:+.1f} (95% from {c['low']:+.1f} "
            f"to {c['high']:+.1f}, p = {c['p']:.3f}, bootstrap over people)"
        )
    print(f"wrote scores.json, predictions.npz, f1.txt and scores.png in {directory}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
