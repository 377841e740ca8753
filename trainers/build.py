"""Build a data set with aligned faces: `python -m trainers.build --dataset=affectnet/csv_7 --manual_dir=DIR`.

What is built, `affectnet/csv_7_aligned`, holds crops of 256x256, cut by the landmarks that the data set gives
or else by those of the detector in `keras_emoco.align`. `--noalign` stores images as they are, as
`tfds build` does.
"""

import functools
import inspect
import pathlib
import sys

import numpy as np
import tensorflow_datasets as tfds
from absl import app, flags

import tfds_builders
from keras_emoco import align
from tfds_builders import configs
from trainers import data

FLAGS = flags.FLAGS
MIN_FACE = 4  # pixels between the outermost landmarks; less are no pixels, but shares of the image


def define_flags():
    """The flags of the program."""
    flags.DEFINE_string("dataset", None, "name, or name/config, of a builder in tfds_builders", required=True)
    flags.DEFINE_string("manual_dir", None, "where your copy of the data set lies", required=True)
    flags.DEFINE_string("data_dir", None, "where TFDS keeps built data; default ~/tensorflow_datasets")
    flags.DEFINE_bool("align", True, "store aligned faces")
    flags.DEFINE_bool("strict", False, "fail if the copy differs from a full one beyond what is known")


def main(_):
    """Build, or say in a line why not."""
    try:
        path = build(
            FLAGS.dataset,
            pathlib.Path(FLAGS.manual_dir),
            FLAGS.data_dir,
            align_faces=FLAGS.align,
            strict=FLAGS.strict,
        )
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
    print(f"\nbuilt in {path}")


def build(
    dataset: str,
    manual_dir: pathlib.Path,
    data_dir: str | None = None,
    *,
    align_faces: bool = True,
    strict: bool = False,
) -> pathlib.Path:
    """Builds a data set unless it is built already; returns where it lies.

    Args:
        dataset: `name` or `name/config`; for aligned faces the config's aligned variant is built.
        manual_dir: where the copy lies.
        data_dir: where TFDS keeps built data.
        align_faces: whether faces are aligned.
        strict: whether a copy that differs from a full one is an error.

    Raises:
        ValueError: there is no such data set, or it cannot do what is asked; and what its builder raises.
        OSError: `manual_dir` is none, or the data set is not in it, or the disk is full.
    """
    if not manual_dir.is_dir() or not any(manual_dir.iterdir()):
        raise FileNotFoundError(f"--manual_dir={manual_dir} is no folder, or an empty one")
    name, _, config = dataset.partition("/")
    known = tfds_builders.__all__
    if f"{name}_dataset_builder" not in known:
        names = ", ".join(module.removesuffix("_dataset_builder") for module in known)
        raise ValueError(f"expected a data set of {names}; got {name!r}")
    builder_cls = tfds.builder_cls(name)
    wanted = {"aligner": aligner if align_faces else None, "strict": strict}
    arguments = {argument: value for argument, value in wanted.items() if value}
    for argument in arguments.keys() - inspect.signature(builder_cls).parameters.keys():
        flag = "--noalign" if argument == "aligner" else "--nostrict"
        raise ValueError(f"the builder of {name} takes no {argument}: pass {flag}")
    if align_faces:
        config = (config or builder_cls.BUILDER_CONFIGS[0].name).removesuffix(configs.SUFFIX) + configs.SUFFIX
    builder = tfds.builder(name, config=config or None, data_dir=data_dir, **arguments)
    data.build(builder, manual_dir)
    return pathlib.Path(builder.data_path)


_detector = functools.cache(align.Detector)  # Loaded only if some image comes without landmarks.


def aligner(image: np.ndarray, landmarks: np.ndarray | None) -> np.ndarray | None:
    """Cuts out the face: that of the landmarks, or the largest that is found.

    Args:
        image: uint8 `(height, width, 3)`.
        landmarks: `(68, 2)`, `(66, 2)` or the five of `keras_emoco.align.LANDMARKS`, in pixels of the image;
            None, or what cannot be a face in this image, to search for one.

    Returns:
        uint8 `(256, 256, 3)`, or None if no face is found.
    """
    points = landmarks if landmarks is None or len(landmarks) == 5 else align.five_points(landmarks)
    if points is None or not _in_image(points, image):
        faces = _detector()(image)
        if not faces:
            return None
        points = faces[0].landmarks
    return align.crop(image, points)


def _in_image(points, image):
    height, width = image.shape[:2]
    inside = ((points >= 0) & (points <= (width, height))).all(axis=1)
    return inside.sum() >= 3 and np.ptp(points, axis=0).max() >= MIN_FACE


if __name__ == "__main__":
    define_flags()
    app.run(main)
