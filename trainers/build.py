"""Build a data set with aligned faces: `python -m trainers.build --dataset=affectnet/csv_7 --manual_dir=DIR`.

What is built, `affectnet/csv_7_aligned`, holds crops of 256x256, cut by the landmarks that the data set gives
or else by those of the detector in `keras_emoco.align`. `--noalign` stores images as they are, as
`tfds build` does.
"""

import inspect
import pathlib
import sys

import tensorflow_datasets as tfds
from absl import app, flags

import tfds_builders
from tfds_builders import configs
from trainers import aligner, data

FLAGS = flags.FLAGS


def define_flags():
    """The flags of the program."""
    flags.DEFINE_string("dataset", None, "name, or name/config, of a builder in tfds_builders", required=True)
    flags.DEFINE_string("manual_dir", None, "where your copy of the data set lies", required=True)
    flags.DEFINE_string("data_dir", None, "where TFDS keeps built data; default ~/tensorflow_datasets")
    flags.DEFINE_bool("align", True, "store aligned faces")
    flags.DEFINE_bool("strict", False, "fail if the copy differs from a full one beyond what is known")
    flags.DEFINE_string(
        "beam_pipeline_options",
        None,
        "build on Apache Beam, as with `tfds build`: runner=NAME,option=VALUE,...",
    )


def main(_):
    """Build, or say in a line why not."""
    try:
        path = build(
            FLAGS.dataset,
            pathlib.Path(FLAGS.manual_dir),
            FLAGS.data_dir,
            align_faces=FLAGS.align,
            strict=FLAGS.strict,
            beam_pipeline_options=FLAGS.beam_pipeline_options,
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
    beam_pipeline_options: str | None = None,
) -> pathlib.Path:
    """Builds a data set unless it is built already; returns where it lies.

    Args:
        dataset: `name` or `name/config`; for aligned faces the config's aligned variant is built.
        manual_dir: where the copy lies.
        data_dir: where TFDS keeps built data.
        align_faces: whether faces are aligned.
        strict: whether a copy that differs from a full one is an error.
        beam_pipeline_options: as `tfds build` takes them, to build on Apache Beam; None to build without.

    Raises:
        ValueError: there is no such data set, or it cannot do what is asked; and what its builder raises.
        OSError: `manual_dir` is none, or the data set is not in it, or the disk is full.
        ImportError: Apache Beam or a package of the extra `align` is missing.
    """
    if not manual_dir.is_dir() or not any(manual_dir.iterdir()):
        raise FileNotFoundError(f"--manual_dir={manual_dir} is no folder, or an empty one")
    name, _, config = dataset.partition("/")
    known = tfds_builders.__all__
    if f"{name}_dataset_builder" not in known:
        names = ", ".join(module.removesuffix("_dataset_builder") for module in known)
        raise ValueError(f"expected a data set of {names}; got {name!r}")
    builder_cls = tfds.builder_cls(name)
    wanted = {"aligner": aligner.cut_out if align_faces else None, "strict": strict}
    arguments = {argument: value for argument, value in wanted.items() if value}
    for argument in arguments.keys() - inspect.signature(builder_cls).parameters.keys():
        flag = "--noalign" if argument == "aligner" else "--nostrict"
        raise ValueError(f"the builder of {name} takes no {argument}: pass {flag}")
    if align_faces:
        config = (config or builder_cls.BUILDER_CONFIGS[0].name).removesuffix(configs.SUFFIX) + configs.SUFFIX
    builder = tfds.builder(name, config=config or None, data_dir=data_dir, **arguments)
    data.build(builder, _download_config(manual_dir, beam_pipeline_options))
    return pathlib.Path(builder.data_path)


def _download_config(manual_dir, beam_pipeline_options):
    config = tfds.download.DownloadConfig(manual_dir=manual_dir)
    if beam_pipeline_options:
        try:
            from apache_beam.options import pipeline_options
        except ImportError as error:
            raise ImportError(
                "--beam_pipeline_options needs Apache Beam: pip install 'keras-emoco[beam]'"
            ) from error
        options = [f"--{option}" for option in beam_pipeline_options.split(",")]
        config.beam_options = pipeline_options.PipelineOptions(flags=options)
    return config


if __name__ == "__main__":
    define_flags()
    app.run(main)
