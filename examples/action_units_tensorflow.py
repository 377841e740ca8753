"""Action units in plain TensorFlow, on a SavedModel of trainers.export: a linear classifier, then finetuned.

Needs TensorFlow and NumPy alone; neither Keras nor keras_emoco is imported.
`python examples/action_units_tensorflow.py SAVED_MODEL LABELS.csv --finetune`; the CSV's header is
`file,subject,AU1,AU2,...`, the files lie relative to it, and codes are 1, 0, or empty for not coded.
"""

import argparse
import csv
import pathlib

import numpy as np
import tensorflow as tf

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("saved_model")
arguments.add_argument("labels", type=pathlib.Path)
arguments.add_argument("--steps", type=int, default=300, help="of the linear classifier, each on all faces")
arguments.add_argument("--finetune", action="store_true", help="then train the encoder too, for one epoch")
arguments = arguments.parse_args()
BATCH, PENALTY, MOMENTUM = 64, 1e-3, 0.9

with arguments.labels.open(newline="") as file:
    rows = list(csv.DictReader(file))
units = [name for name in rows[0] if name.startswith("AU")]
labels = np.array([[float(row[unit] or -1) for unit in units] for row in rows], "float32")
files = np.array([str(arguments.labels.parent / row["file"]) for row in rows])
people = sorted({row["subject"] for row in rows})
fold_of = np.array([people.index(row["subject"]) % 3 for row in rows])  # nobody is in two folds

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
    """One logistic unit for each action unit, on features of mean 0 and deviation 1."""

    def __init__(self, features):
        super().__init__()
        self.mean, self.deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
        self.weights = tf.Variable(tf.zeros((features.shape[1], len(units))))
        self.biases = tf.Variable(tf.zeros(len(units)))

    def __call__(self, features):
        return (features - self.mean) / self.deviation @ self.weights + self.biases

    def loss(self, features, labels):
        """Mean cross-entropy over the coded entries, and a penalty."""
        loss = tf.nn.sigmoid_cross_entropy_with_logits(tf.maximum(labels, 0.0), self(features))
        coded = tf.cast(labels >= 0, tf.float32)
        loss = tf.reduce_sum(loss * coded) / tf.maximum(tf.reduce_sum(coded), 1.0)
        return loss + PENALTY * tf.nn.l2_loss(self.weights)


def train(loss_of, batches, variables, rate):
    """Gradient descent with momentum; prints the first and the last loss."""
    velocities = [tf.Variable(tf.zeros_like(variable)) for variable in variables]
    losses = []
    for batch in batches:
        with tf.GradientTape() as tape:
            losses.append(loss_of(*batch))
        gradients = tape.gradient(losses[-1], variables)
        for variable, velocity, gradient in zip(variables, velocities, gradients, strict=True):
            velocity.assign(MOMENTUM * velocity + gradient)
            variable.assign_sub(rate * velocity)
    print(f"{len(losses)} steps, loss from {losses[0]:.3f} to {losses[-1]:.3f}")


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
for fold in range(3):
    training, test = fold_of != fold, fold_of == fold
    classifier = Classifier(features[training])
    faces = [(features[training], labels[training])] * arguments.steps
    train(classifier.loss, faces, classifier.trainable_variables, 0.05)
    scores.append(f1(classifier, features[test], labels[test]))
show("linear, mean of three folds", np.mean(scores, axis=0))

if arguments.finetune:
    # Here the last fold alone. BatchNorm keeps its statistics: the graph is that of inference.
    def loss_of(images, labels):
        """The loss through the encoder."""
        return classifier.loss(model.features(images)["features"], labels)

    variables = [*model.trainable_variables, *classifier.trainable_variables]
    train(loss_of, views(training), variables, 1e-4)
    show("linear, last fold", scores[-1])
    show("finetuned, last fold", f1(classifier, features_of(test), labels[test]))
