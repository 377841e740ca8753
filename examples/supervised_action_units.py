"""Action units from labels alone, on the built-in faces: how well a ResNet-18 can see each of them.

`python examples/supervised_action_units.py`; about a quarter of an hour on two cores.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from sklearn.metrics import f1_score

import keras_emoco
import tfds_builders  # noqa: F401  (registers the data sets)

arguments = argparse.ArgumentParser(description=__doc__)
arguments.add_argument("--data_dir", help="where TFDS keeps built data")
arguments.add_argument("--faces", type=int, default=-1, help="train on the first so many; default all")
arguments.add_argument("--epochs", type=int, default=2)
arguments.add_argument("--image_size", type=int, default=96)
arguments = arguments.parse_args()
BATCH = 64

keras.utils.set_random_seed(0)
builder = tfds.builder("synthetic_faces", data_dir=arguments.data_dir)
builder.download_and_prepare()
action_units = [int(unit) for unit in builder.info.metadata["action_units"]]
policy = keras_emoco.augment.Policy(crop_scale=(0.6, 1.0), hue=0.05, blur_probability=0.0)


def faces(split):
    """The faces of a split, still encoded."""
    return builder.as_dataset(split=split, decoders={"image": tfds.decode.SkipDecoding()})


def training_view(index, face):
    """A random crop, flip and colour of a face, and its labels."""
    pixels = tf.io.decode_jpeg(face["image"], channels=3)
    view = keras_emoco.augment.random_view(pixels, tf.stack([0, index]), arguments.image_size, policy)
    return view, tf.cast(face["action_units"]["occurrence"], tf.float32)


train = faces("train").take(arguments.faces)
steps = int(train.cardinality()) // BATCH
batches = (
    train.shuffle(len(train), seed=0)
    .repeat()
    .enumerate()
    .map(training_view, num_parallel_calls=tf.data.AUTOTUNE)
    .batch(BATCH)
    .prefetch(2)
)
encoder = keras_emoco.encoders.build("resnet18", image_size=arguments.image_size)
detector = keras_emoco.AUDetector(encoder, action_units, frozen=False)
rate = keras_emoco.optimizers.cosine(0.004, BATCH, steps * arguments.epochs)
detector.compile(keras.optimizers.AdamW(rate))
detector.fit(batches, steps_per_epoch=steps, epochs=arguments.epochs, shuffle=False, verbose=2)

test = faces("test")
views = keras_emoco.augment.images(test, arguments.image_size, BATCH, crop=False)
predicted = [detector.predict_on_batch(view.numpy())["probabilities"] for view, _ in views]
labels = np.array([face["action_units"]["occurrence"] for face in test.as_numpy_iterator()])
f1 = 100 * f1_score(labels, np.concatenate(predicted) > 0.5, average=None, zero_division=0)
for unit, value in zip(action_units, f1, strict=True):
    print(f"AU{unit:<3} F1 {value:5.1f}")
print(f"avg   F1 {f1.mean():5.1f}, least {f1.min():.1f}, on {len(labels)} faces of other people")
