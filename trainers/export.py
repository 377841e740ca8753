"""Export an encoder or an action unit detector for other programs, with a model card beside it.

`python -m trainers.export --encoder=runs/demo-synthetic_faces/encoder.keras --output=emoco` writes a
TensorFlow SavedModel. Encoders trained on any Keras backend are exported by TensorFlow.
"""

import importlib.util
import os
import pathlib
import shutil
import sys

import keras
import numpy as np
from absl import app, flags, logging

import keras_emoco
from trainers import data, features, formats, model_card, probe, scores

FLAGS = flags.FLAGS
# What reads an export back; without it nothing says that the export is right.
READERS = {"onnx": ("tf2onnx", "onnxruntime"), "litert": ("ai_edge_litert",)}
CALIBRATION_FACES = 128
# Above it the export is wrong; sums in another order stay far below.
TOLERANCE = 1e-3


def define_flags():
    """What is exported, in which format, and where to."""
    flags.DEFINE_string("encoder", None, "encoder.keras of a pretraining run")
    flags.DEFINE_string("detector", None, "file of a saved keras_emoco.AUDetector, instead of --encoder")
    flags.DEFINE_enum("format", "tf_saved_model", list(formats.SUFFIXES), "of the export")
    flags.DEFINE_string("output", None, "directory of the SavedModel, or file", required=True)
    flags.DEFINE_integer("image_size", None, "side of the images, for an encoder that takes any")
    flags.DEFINE_bool(
        "center_crop",
        None,
        "the fixed view is the central 224/256 of a picture, not the whole; default as the run beside has it",
    )
    flags.DEFINE_bool("int8", False, "litert: compute in int8, calibrated on faces of --dataset")
    flags.DEFINE_string(
        "dataset", "synthetic_faces", "int8: TFDS name of faces with action units, for calibration and F1"
    )
    flags.DEFINE_integer("max_faces", 2000, "int8: use at most so many faces of each split")
    data.define_flags()


def main(_):
    """Check everything, export, compare with Keras, write the card."""
    if keras.backend.backend() != "tensorflow":
        # A `.keras` file is the same on all backends, and these formats are made of TensorFlow graphs.
        command = [sys.executable, "-m", "trainers.export", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "KERAS_BACKEND": "tensorflow"})
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    output = pathlib.Path(FLAGS.output)
    try:
        check_flags(output)
        source, network = load(output)
        faces = calibration = None
        if FLAGS.int8:
            faces = load_faces(network)
            calibration = views(network, faces.examples.take(CALIBRATION_FACES))
        difference = export(network, output, calibration)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    model_card.write(model_card.describe(source, network, FLAGS.format, output, difference), output)
    if FLAGS.int8:
        report_int8(network, output, faces)
    print(
        f"wrote {output}, {output.name}.card.json and {output.name}.card.md; differs from Keras by", end=" "
    )
    print(f"at most {difference:.1e}")


def check_flags(output: pathlib.Path):
    """Refuse flags that contradict each other, and an output that cannot be written.

    Raises:
        ValueError: they do, or a package is missing.
    """
    if bool(FLAGS.encoder) == bool(FLAGS.detector):
        raise ValueError("give --encoder or --detector, one of them")
    if FLAGS.format == "torch" and FLAGS.detector:
        raise ValueError("--format=torch holds a ResNet alone: give its --encoder")
    if FLAGS.int8 and FLAGS.format != "litert":
        raise ValueError(f"--int8 is for --format=litert; got --format={FLAGS.format}")
    for name in ("image_size", "max_faces"):
        if FLAGS[name].value is not None and FLAGS[name].value < 1:
            raise ValueError(f"--{name} must be positive; got {FLAGS[name].value}")
    suffix = formats.SUFFIXES[FLAGS.format]
    if output.suffix != suffix and suffix:
        raise ValueError(f"--output={output} must end in {suffix} for --format={FLAGS.format}")
    if output.exists():
        raise ValueError(f"--output={output} is there already: remove it, or give another")
    for package in READERS.get(FLAGS.format, ()):
        if importlib.util.find_spec(package) is None:
            raise ValueError(
                f"--format={FLAGS.format} needs the package {package}: pip install 'keras-emoco[export]'"
            )


def load(output: pathlib.Path) -> tuple[pathlib.Path, formats.Network]:
    """The file that is exported, and what is in it in float32.

    Raises:
        FileNotFoundError, ValueError: as `features.load_encoder`; the file holds no detector.
    """
    source = pathlib.Path(FLAGS.encoder or FLAGS.detector)
    if FLAGS.encoder:
        encoder, image_size = features.load_encoder(source, FLAGS.image_size)
        detector = None
        encoder = in_float32(encoder)
    else:
        detector = load_detector(source)
        encoder, image_size = detector.encoder, detector.encoder.input_shape[1] or FLAGS.image_size
        if image_size is None:
            raise ValueError(f"--detector={source} takes images of any size: choose one by --image_size")
    center_crop = FLAGS.center_crop
    if center_crop is None:
        center_crop = features.center_crop(source)
    output.parent.mkdir(parents=True, exist_ok=True)
    return source, formats.Network(encoder, detector, image_size, center_crop)


def load_detector(path: pathlib.Path) -> keras_emoco.AUDetector:
    """The detector in a file, in float32, with all weights trainable.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no detector.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--detector={path} is not there: give the file of a saved AUDetector")
    saved = features.load_model("detector", path, "give the file of a saved AUDetector")
    if not isinstance(saved, keras_emoco.AUDetector):
        raise ValueError(
            f"--detector={path} holds a {type(saved).__name__}: give --encoder, or an AUDetector"
        )
    detector = keras_emoco.AUDetector(in_float32(saved.encoder), saved.action_units, frozen=False)
    detector.classifier.set_weights(saved.classifier.get_weights())
    return detector


def in_float32(encoder: keras.Model) -> keras.Model:
    """A trainable copy that computes in float32: ONNX and LiteRT have no bfloat16, nor do most users."""

    def clone(old):
        config = old.get_config()
        if isinstance(old, keras.Layer):
            config.update(dtype="float32", trainable=True)
        return type(old).from_config(config)

    copy = keras.models.clone_model(encoder, clone_function=clone, recursive=True)
    copy.set_weights(encoder.get_weights())
    return copy


def export(network, output: pathlib.Path, calibration) -> float:
    """Write an export, whole or not at all; returns its largest difference from Keras on noise.

    Raises:
        ValueError: it differs by more than `TOLERANCE`.
    """
    size = network.image_size
    partial = output.with_name(f"{output.stem}.partial{output.suffix}")
    shutil.rmtree(partial, ignore_errors=True)
    formats.write(network, FLAGS.format, partial, calibration)
    noise = np.random.default_rng(0).normal(size=(2, size, size, 3)).astype("float32")
    images = noise if calibration is None else calibration[:16]
    expected = next(iter(network.outputs(images).values())).numpy()
    found = formats.read(network, FLAGS.format, partial)(images)
    difference = float(np.abs(found - expected).max())
    if calibration is None and not difference <= TOLERANCE * max(1.0, np.abs(expected).max()):
        raise ValueError(
            f"{partial} gives other numbers than Keras, by {difference}: it is left there, not moved to "
            f"--output; report it with the versions of pip list"
        )
    os.replace(partial, output)
    return difference


def load_faces(network) -> probe.Faces:
    """Faces to calibrate and to measure on, with the detector's units.

    Raises:
        ValueError: the data has no action units, or not the detector's.
    """
    faces = probe.load(data.prepare(FLAGS.dataset, FLAGS.data_dir, FLAGS.manual_dir), FLAGS.max_faces)
    return probe.select(faces, list(network.detector.action_units)) if network.detector else faces


def views(network, examples) -> np.ndarray:
    """`(n, size, size, 3)` fixed views of some examples."""
    batches = keras_emoco.augment.images(examples, network.image_size, 128, crop=network.center_crop)
    return np.concatenate([batch.numpy() for batch, _ in batches])


def report_int8(network, output, faces):
    """Print average F1 of the float and of the int8 outputs on the same faces."""
    images = views(network, faces.examples)
    float_outputs = [next(iter(network.outputs(batch).values())).numpy() for batch in batched(images)]
    int8_outputs = formats.read(network, FLAGS.format, output)(images)
    one, two = (average_f1(network, faces, x) for x in (np.concatenate(float_outputs), int8_outputs))
    kind = "the detector" if network.detector else "a linear classifier on the features"
    print(f"average F1 of {kind} on {len(images)} faces of {FLAGS.dataset}: float {one:.1f}, int8 {two:.1f}")


def batched(images):
    """The rows of an array, 128 at a time."""
    return (images[start : start + 128] for start in range(0, len(images), 128))


def average_f1(network, faces, outputs) -> float:
    """In percent, threshold 0.5: of probabilities on all faces, or of a linear probe over the folds."""
    if not network.detector:
        return float(np.nanmean(probe.linear_probe(faces, outputs)))
    rows = np.arange(len(outputs))
    found = scores.per_fold(faces.occurrence, [outputs], faces.coded, faces.subjects, [(rows, rows)])
    return float(100 * np.nanmean(found["f1"]))


if __name__ == "__main__":
    define_flags()
    app.run(main)
