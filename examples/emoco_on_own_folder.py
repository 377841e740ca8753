"""EmoCo on a folder of one's own: one folder in it for each emotion, of JPEG or PNG files.

`python examples/emoco_on_own_folder.py FACES`, where FACES has `happy/1.jpg`, `sad/2.png`, ...; writes
encoder.keras. The faces should be cropped; `python -m trainers.align` does it.
"""

import argparse
import pathlib
import random

import keras
import tensorflow as tf

import keras_emoco

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("faces", type=pathlib.Path)
parser.add_argument("--output", default="encoder.keras")
parser.add_argument("--image_size", type=int, default=64)
parser.add_argument("--batch_size", type=int, default=128)
parser.add_argument("--queue_size", type=int, default=2048, help="negatives of each emotion")
parser.add_argument("--epochs", type=int, default=10)
arguments = parser.parse_args()

keras.utils.set_random_seed(0)
files = sorted(f for f in arguments.faces.glob("*/*") if f.suffix.lower() in (".jpg", ".jpeg", ".png"))
emotions = sorted({file.parent.name for file in files})
print(f"{len(files)} faces: {', '.join(emotions)}")
random.Random(0).shuffle(files)
labels = [emotions.index(file.parent.name) for file in files]
faces = tf.data.Dataset.from_tensor_slices(([str(file) for file in files], labels))
faces = faces.map(lambda file, label: (tf.io.read_file(file), label))
batches = keras_emoco.augment.two_views(faces, arguments.image_size, arguments.batch_size)
steps = len(files) // arguments.batch_size

encoder = keras_emoco.encoders.build("resnet18", arguments.image_size)
model = keras_emoco.EmoCo(encoder, len(emotions), queue_size=arguments.queue_size, momentum=0.99)
rate = keras_emoco.optimizers.cosine(0.12, arguments.batch_size, steps * arguments.epochs)
model.compile(keras_emoco.optimizers.sgd(rate))
model.fit(batches, steps_per_epoch=steps, epochs=arguments.epochs, verbose=2)
model.encoder.save(arguments.output)
