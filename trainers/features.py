"""From an encoder's file and a data set to features, computed once and kept; not what is done with them."""

import hashlib
import json
import pathlib

import keras
import numpy as np

from trainers import probe, workdir


def load_encoder(path: pathlib.Path, image_size: int | None = None) -> tuple[keras.Model, int]:
    """The encoder in a file, and the side of its images in pixels.

    Args:
        path: `encoder.keras` of a pretraining run, or any `keras.Model` from images to `(batch, features)`.
        image_size: the side, where the encoder takes any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no encoder, or one for images of another size.
    """
    if not path.is_file():
        raise FileNotFoundError(f"--encoder={path} is not there: give the encoder.keras of a pretraining run")
    if path.suffix != ".keras":
        raise ValueError(
            f"--encoder={path} must be a whole model, encoder.keras of a pretraining run; a checkpoint of "
            "weights does not say which encoder it is for"
        )
    encoder = load_model("encoder", path, "give the encoder.keras of a pretraining run")
    if hasattr(encoder, "encoder"):
        raise ValueError(
            f"--encoder={path} holds a {type(encoder).__name__}, not an encoder: save its `.encoder` instead"
        )
    shape, output = encoder.input_shape, encoder.output_shape
    if len(shape) != 4 or shape[-1] != 3 or len(output) != 2 or shape[1] != shape[2]:
        raise ValueError(
            f"--encoder={path} takes {shape} and gives {output}; expected (batch, size, size, 3) to (batch, "
            "features): build it with keras_emoco.encoders.build"
        )
    if image_size is not None and shape[1] not in (None, image_size):
        raise ValueError(
            f"--image_size={image_size}, but the encoder takes {shape[1]} pixels: leave the flag out"
        )
    if shape[1] is None and image_size is None:
        raise ValueError(f"--encoder={path} takes images of any size: choose one by --image_size")
    return encoder, shape[1] or image_size


def load_model(flag: str, path: pathlib.Path, remedy: str) -> keras.Model:
    """The model in a file that a flag names.

    Raises:
        ValueError: it holds none; the message ends in the remedy.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    # The readers of zip, JSON and HDF5 raise a dozen kinds of errors.
    except Exception as error:
        raise ValueError(f"--{flag}={path} does not load ({str(error).splitlines()[0]}): {remedy}") from error


def read_run(path: pathlib.Path) -> dict:
    """`config.json` of the run that a file lies in; empty where there is none.

    Raises:
        DamagedError: it holds something else.
    """
    file = path.with_name("config.json")
    return workdir.read_config(file) if file.is_file() else {}


def center_crop(path: pathlib.Path) -> bool:
    """Whether the run that wrote an encoder evaluates on the central 224/256; False where there is no run."""
    return bool(read_run(path).get("settings", {}).get("center_crop"))


def digest(path: pathlib.Path) -> str:
    """SHA-256 of a file, the first 16 hexadecimal digits."""
    return workdir.sha256(path)[:16]


def cached(
    directory: pathlib.Path,
    encoder_digest: str,
    encoder: keras.Model,
    builder,
    faces: probe.Faces,
    image_size: int,
    center_crop: bool,
) -> np.ndarray:
    """`(n, F)` features of all faces; computed the first time, then read from `directory`.

    The file's name is a hash of everything they depend on: the encoder's file, the data set's name, version
    and contents as TFDS knows them, how many faces of it, and the view.

    Args:
        directory: where they are kept.
        encoder_digest: `digest` of the encoder's file.
        encoder: the encoder.
        builder: TFDS builder of the data set.
        faces: its faces.
        image_size: side of the views in pixels.
        center_crop: as for `probe.features`.
    """
    key = {
        "encoder": encoder_digest,
        "data": builder.info.full_name,
        "splits": {name: [s.num_examples, s.num_bytes] for name, s in builder.info.splits.items()},
        "metadata": dict(builder.info.metadata or {}),
        "view": [image_size, center_crop],
        "faces": len(faces.subjects),
    }
    text = json.dumps(key, sort_keys=True, default=str)
    path = directory / f"features-{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    if path.exists():
        print(f"features from {path}")
        return read(path, len(faces.subjects))
    x = probe.features(encoder, faces.examples, image_size, center_crop)
    workdir.write_arrays(path, features=x, key=np.array(text))
    return x


def read(path: pathlib.Path, count: int) -> np.ndarray:
    """`(count, F)` features that `cached` kept.

    Raises:
        DamagedError: the file holds something else.
    """
    x = workdir.read_arrays(path).get("features")
    if x is None or x.dtype != np.float32 or x.ndim != 2 or len(x) != count or not np.isfinite(x).all():
        raise workdir.DamagedError(
            f"{path} holds no features of {count} faces: remove it, and trainers.evaluate makes it again"
        )
    return x
