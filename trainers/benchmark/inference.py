"""What the benchmark times of a trained model: each exported format, and `trainers.predict` with its parts.

Each public function prepares one case and gives `(run, work)`, as `emoco` does. TensorFlow alone. Weights are
random: time does not depend on them.
"""

import io
import pathlib
import tempfile

import keras
import numpy as np
from PIL import Image

import keras_emoco
from keras_emoco import align
from tfds_builders.synthetic_faces.faces import sample_face
from tfds_builders.synthetic_faces.render import render
from trainers import formats, predict, predictor, recordings, sources
from trainers.annotate import annotated
from trainers.benchmark import peers

UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)  # DISFA's
CANVAS, FACE = (640, 480), 240  # pixels


def exported(encoder: str, image_size: int, count: int, name: str, int8: bool = False):
    """Features of `count` views through an exported encoder.

    Args:
        encoder: name of a ResNet.
        image_size: side of the views in pixels.
        count: views in a call.
        name: of the format, as `formats.write` has it.
        int8: LiteRT in int8.
    """
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).standard_normal((count, image_size, image_size, 3), "float32")
    network = formats.Network(keras_emoco.encoders.build(encoder, image_size), None, image_size, False)
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / f"encoder{formats.SUFFIXES[name]}"
        formats.write(network, name, path, images if int8 else None)
        if name == "keras":
            features = keras.saving.load_model(path, compile=False).predict_on_batch
        elif name == "torch":
            features = peers.features(encoder, path)
        else:
            features = formats.read(network, name, path)
    return lambda: float(np.mean(features(images))), count


def predicted(part: str, encoder: str, image_size: int, count: int):
    """Pictures of 640 x 480 pixels with a face each, through `trainers.predict` or a part of it.

    Args:
        part: `"pictures"`: JPEG files to the table and annotated JPEGs; `"video"`: the same as a video;
            `"find"`, `"align"`, `"network"`, `"draw"`: that alone.
        encoder: name of the ResNet of the detector.
        image_size: side of its images in pixels.
        count: pictures in a call.
    """
    detector = keras_emoco.AUDetector(keras_emoco.encoders.build(encoder, image_size), UNITS)
    predict_faces = predictor.Predictor(detector, image_size, center_crop=False)
    pictures = [picture(number) for number in range(count)]
    if part in ("pictures", "video"):
        files = jpegs(pictures) if part == "pictures" else video(pictures)
        return lambda: _program(files, predict_faces), count
    find = align.Detector()
    images = [np.asarray(picture) for picture in pictures]
    faces = predict_faces(images)
    crops = [found[0].crop for found in faces]
    call = {
        "find": lambda: len(find.detect(images)),
        "align": lambda: len(
            [align.crop(i, f[0].place.landmarks) for i, f in zip(images, faces, strict=True)]
        ),
        "network": lambda: float(predict_faces.probabilities(crops).mean()),
        "draw": lambda: len(
            [annotated(i, f, predict_faces.names) for i, f in zip(images, faces, strict=True)]
        ),
    }[part]
    return call, count


def _program(files, predict_faces):
    """Faces found in files, written to and read from a folder as the program does it."""
    with tempfile.TemporaryDirectory() as directory:
        folder, output = pathlib.Path(directory) / "in", pathlib.Path(directory) / "out"
        for path in (folder, output):
            path.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        listed = sources.list_sources([str(folder)], "files", output / "new")
        return predict.predict_all(listed, predict_faces, output)["face"]


def picture(number: int) -> Image.Image:
    """A drawn face on grey."""
    face = Image.fromarray(np.ascontiguousarray(render(sample_face(number, 0))))
    canvas = Image.new("RGB", CANVAS, "gray")
    canvas.paste(face.resize((FACE, FACE)), (200, 120))
    return canvas


def jpegs(pictures: list[Image.Image]) -> dict[str, bytes]:
    """The pictures as files, by name."""
    files = {}
    for number, image in enumerate(pictures):
        file = io.BytesIO()
        image.save(file, "JPEG", quality=90)
        files[f"{number}.jpg"] = file.getvalue()
    return files


def video(pictures: list[Image.Image]) -> dict[str, bytes]:
    """The pictures as one file."""
    with tempfile.TemporaryDirectory() as directory:
        path = pathlib.Path(directory) / "clip.mp4"
        writer = recordings.Writer(path, rate=10.0)
        for number, image in enumerate(pictures):
            writer.write(image, number / 10)
        writer.close()
        return {path.name: path.read_bytes()}
