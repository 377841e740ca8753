"""Evaluate an encoder on faces with action units, by the paper's linear or finetuning protocol (IV.C).

`python -m trainers.evaluate --encoder=encoder.keras --dataset=synthetic_faces --protocol=linear`. A killed
evaluation goes on when the same command is given again: folds that are done are not done again.
"""

import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

from trainers import (
    data,
    emotions,
    evaluate_flags,
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


def main(_):
    """Check everything, predict each fold, report."""
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    try:
        threshold = evaluate_flags.threshold()
        units, seeds = map(evaluate_flags.integers, ("action_units", "seeds"))
        evaluate_flags.check()
        encoder, image_size = features.load_encoder(pathlib.Path(FLAGS.encoder), FLAGS.image_size)
        if FLAGS.center_crop is None:
            FLAGS.center_crop = features.center_crop(pathlib.Path(FLAGS.encoder))
        digest = features.digest(pathlib.Path(FLAGS.encoder))
        builder = data.prepare(FLAGS.dataset, FLAGS.data_dir, FLAGS.manual_dir)
        faces = probe.load(builder, FLAGS.max_faces)
        faces = probe.select(faces, units) if units else faces
        faces = probe.within(faces, FLAGS.emotion) if FLAGS.emotion else faces
        faces = probe.held_out(faces) if FLAGS.held_out else faces
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
    except tf.errors.OpError as error:
        faults.end(error, builders=[builder])
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
        if FLAGS.save_detector:
            everyone = np.arange(len(faces.subjects))
            if FLAGS.protocol == "linear":
                classifiers = probe.fit_linear(faces, x, everyone, class_weight())
                detector = probe.detector(encoder, classifiers, faces)
            else:
                detector = train_detector(faces, everyone, image_size, seeds[0])
            save(detector, directory)
    except Exception as error:
        faults.end(error, builders=[builder])


def settings(encoder_digest, image_size, builder, faces) -> dict:
    """What the results depend on."""
    names = ["protocol", "threshold", "balanced", "center_crop", "emotion", "held_out"]
    if FLAGS.protocol == "finetune":
        names += evaluate_flags.FINETUNE_ONLY
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
        classifiers = probe.fit_linear(faces, x, train, class_weight())
        return lambda rows: probe.predict(classifiers, x[rows])

    return [(f"fold{k}", train, test, fit) for k, (train, test) in enumerate(faces.folds, start=1)]


def class_weight() -> str | None:
    """Of the linear classifiers, as scikit-learn has it."""
    return "balanced" if FLAGS.balanced else None


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
    """The same for each seed and fold."""

    def fit_with(seed):
        def fit(train):
            detector = train_detector(faces, train, image_size, seed)
            return lambda rows: finetune.predict(detector, faces, rows, recipe(image_size))

        return fit

    return [
        (f"seed{seed}-fold{k}", train, test, fit_with(seed))
        for seed in seeds
        for k, (train, test) in enumerate(faces.folds, start=1)
    ]


def recipe(image_size: int) -> finetune.Recipe:
    """How the flags want a detector finetuned."""
    names = ("center_crop", "epochs", "batch_size", "base_learning_rate", "balanced")
    return finetune.Recipe(image_size, **{name: FLAGS[name].value for name in names})


def train_detector(faces, rows, image_size, seed):
    """A detector finetuned on some faces; the encoder is loaded anew."""
    keras.utils.clear_session()
    encoder, _ = features.load_encoder(pathlib.Path(FLAGS.encoder), FLAGS.image_size)
    return finetune.train(encoder, faces, rows, recipe(image_size), seed)


def save(detector, directory):
    """Write `detector.keras`."""
    with workdir.replaced(directory / "detector.keras") as partial:
        detector.save(partial)
    print(f"wrote detector.keras in {directory}: trained on all faces, so its F1 is that of the folds")


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
    summary.update(emotion=FLAGS.emotion, held_out=FLAGS.held_out)
    if other:
        summary["comparison"] = {"to": FLAGS.compare_to, **results.compare(predictions, other)}
    results.write(directory, summary)
    table = results.rows(summary, builder.info.full_name, FLAGS.protocol == "finetune")
    text = results.text_table(summary, table)
    workdir.write_text(directory / "f1.txt", text + "\n")
    title = f"{builder.info.full_name}, {FLAGS.protocol} protocol{evaluate_flags.condition()}"
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
    evaluate_flags.define()
    app.run(main)
