"""Action units in plain TensorFlow, on a SavedModel of trainers.export: a linear classifier, then finetuned.

Needs TensorFlow and NumPy alone; neither Keras nor keras_emoco is imported.
`python examples/action_units_tensorflow.py SAVED_MODEL LABELS.csv --finetune`; the CSV's header is
`file,subject,AU1,AU2,...`, and codes are 1, 0, or empty for not coded. Folds and classifier are those of
`trainers.evaluate --protocol=linear`.
"""

import argparse
import csv
import pathlib

import numpy as np
import tensorflow as tf

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("saved_model")
arguments.add_argument("labels", type=pathlib.Path)
arguments.add_argument("--images", type=pathlib.Path, help="where the files lie; default beside the CSV")
arguments.add_argument("--steps", type=int, default=300, help="of a linear classifier, each on all its faces")
arguments.add_argument("--finetune", action="store_true", help="then train the encoder too, for one epoch")
arguments = arguments.parse_args()
BATCH, MOMENTUM, FOLDS = 64, 0.9, 3
PENALTIES = (0.004, 0.04, 0.4, 4.0)  # one is chosen for each unit

with arguments.labels.open(newline="") as file:
    rows = list(csv.DictReader(file))
units = [name for name in rows[0] if name.startswith("AU")]
labels = np.array([[float(row[unit] or -1) for unit in units] for row in rows], "float32")
folder = arguments.images or arguments.labels.parent
files = np.array([str(folder / row["file"]) for row in rows])

# Folds of people, those of trainers.evaluate: from the one with most faces on, each to the smallest fold.
_, person, faces_of = np.unique([row["subject"] for row in rows], return_inverse=True, return_counts=True)
sizes, fold_of_person = np.zeros(FOLDS), np.zeros(len(faces_of), int)
for number in np.argsort(faces_of)[::-1]:
    fold_of_person[number] = sizes.argmin()
    sizes[sizes.argmin()] += faces_of[number]
fold_of = fold_of_person[person]

model = tf.saved_model.load(arguments.saved_model)


def views(chosen):
    """Batches of the fixed views of some faces, decoded by the model's own graph, and their labels."""
    dataset = tf.data.Dataset.from_tensor_slices((files[chosen], labels[chosen]))
    dataset = dataset.map(lambda file, label: (tf.io.read_file(file), label)).batch(BATCH)
    return dataset.map(lambda encoded, label: (model.view(encoded)["images"], label))


def features_of(chosen):
    """Features of some faces, in order."""
    return np.concatenate([model.features(images)["features"] for images, _ in views(chosen)])


class Classifier(tf.Module):
    """A logistic unit for each penalty, on features of mean 0 and deviation 1."""

    def __init__(self, features, penalties):
        super().__init__()
        self.mean, self.deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
        self.penalties = tf.constant(penalties, tf.float32)
        self.weights = tf.Variable(tf.zeros((features.shape[1], len(penalties))))
        self.biases = tf.Variable(tf.zeros(len(penalties)))

    def __call__(self, features):
        return (features - self.mean) / self.deviation @ self.weights + self.biases

    def cross_entropy(self, features, labels):
        """Of each unit, the mean over the faces that have it coded."""
        loss = tf.nn.sigmoid_cross_entropy_with_logits(tf.maximum(labels, 0.0), self(features))
        coded = tf.cast(labels >= 0, tf.float32)
        return tf.reduce_sum(loss * coded, 0) / tf.maximum(tf.reduce_sum(coded, 0), 1.0)

    def loss(self, features, labels):
        """Cross-entropy and the penalties, the sum over the units."""
        penalties = self.penalties * tf.reduce_sum(self.weights**2, 0) / 2
        return tf.reduce_sum(self.cross_entropy(features, labels) + penalties)


def train(loss_of, batches, variables, rate):
    """Gradient descent with momentum; returns the first and the last loss."""
    velocities = [tf.Variable(tf.zeros_like(variable)) for variable in variables]

    @tf.function
    def step(batch):
        with tf.GradientTape() as tape:
            loss = loss_of(*batch)
        for variable, velocity, gradient in zip(
            variables, velocities, tape.gradient(loss, variables), strict=True
        ):
            velocity.assign(MOMENTUM * velocity + gradient)
            variable.assign_sub(rate * velocity)
        return loss

    losses = [float(step(batch)) for batch in batches]
    return losses[0], losses[-1]


def train_linear(features, labels, penalties):
    """A classifier of some faces."""
    classifier = Classifier(features, penalties)
    faces = [(tf.constant(features), tf.constant(labels))] * arguments.steps
    first, last = train(classifier.loss, faces, classifier.trainable_variables, 0.05)
    print(f"{len(labels)} faces, {arguments.steps} steps, loss from {first:.3f} to {last:.3f}")
    return classifier


def best_penalties(features, labels, part_of):
    """For each unit the penalty with the least cross-entropy on people not trained on, each part in turn."""
    penalties, labels = np.repeat(PENALTIES, len(units)), np.tile(labels, len(PENALTIES))
    losses = 0.0
    for part in np.unique(part_of):
        training, test = part_of != part, part_of == part
        classifier = train_linear(features[training], labels[training], penalties)
        losses += classifier.cross_entropy(features[test], labels[test]).numpy()
    return np.array(PENALTIES)[losses.reshape(len(PENALTIES), -1).argmin(axis=0)]


def f1(classifier, features, labels):
    """F1 of each unit in percent."""
    predicted, positive, negative = classifier(features).numpy() > 0, labels == 1, labels == 0
    right = (positive & predicted).sum(axis=0)
    wrong = (negative & predicted).sum(axis=0) + (positive & ~predicted).sum(axis=0)
    return 100 * 2 * right / np.maximum(2 * right + wrong, 1)


def show(title, scores):
    """Print F1 as one line."""
    scores = [
        f"{unit} {score:.1f}" for unit, score in zip((*units, "avg"), (*scores, scores.mean()), strict=True)
    ]
    print(f"{title}:", *scores)


features, scores = features_of(slice(None)), []
for fold in range(FOLDS):
    training, test = fold_of != fold, fold_of == fold
    penalties = best_penalties(features[training], labels[training], fold_of[training])
    classifier = train_linear(features[training], labels[training], penalties)
    scores.append(f1(classifier, features[test], labels[test]))
show("linear, mean of three folds", np.mean(scores, axis=0))

if arguments.finetune:
    # Here the last fold alone. BatchNorm keeps its statistics: the graph is that of inference.
    def loss_of(images, labels):
        """The loss through the encoder."""
        return classifier.loss(model.features(images)["features"], labels)

    variables = [*model.trainable_variables, *classifier.trainable_variables]
    first, last = train(loss_of, views(training), variables, 1e-5)
    print(f"all weights, one epoch, loss of a batch from {first:.3f} to {last:.3f}")
    show("linear, last fold", scores[-1])
    show("finetuned, last fold", f1(classifier, features_of(test), labels[test]))
