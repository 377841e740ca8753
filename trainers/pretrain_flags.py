"""The flags of `trainers.pretrain`, and the checks that need nothing but their values."""

import dataclasses

from absl import flags

from trainers import data, presets, strategies

FLAGS = flags.FLAGS
# Settings that the contrastive branch alone reads, and so mean nothing without it.
CONTRASTIVE_ONLY = ("queue_size", "temperature", "dictionary", "normalization", "momentum")
OPTIMIZERS = ("sgd", "adamw")


def define():
    """One flag for each value of a preset, and those that say where things are and who trains."""
    flags.DEFINE_enum(
        "preset", "demo", sorted(presets.PRESETS), "recipe; every flag given overrides its value"
    )
    for field in dataclasses.fields(presets.Preset):
        define = {str: flags.DEFINE_string, int: flags.DEFINE_integer, float: flags.DEFINE_float}.get(
            field.type, flags.DEFINE_bool
        )
        values = ", ".join(f"{name}: {getattr(p, field.name)}" for name, p in sorted(presets.PRESETS.items()))
        define(field.name, None, f"{field.metadata['help']} ({values})")
    data.define_flags()
    flags.DEFINE_string("workdir", None, "where the run is written; default runs/<preset>-<dataset>")
    flags.DEFINE_string(
        "init_from",
        None,
        "begin with these weights: a file, MoCo's, torchvision's or timm's .pth, .safetensors, or .keras; or "
        "a preset of keras_hub, its directory or its name",
    )
    flags.DEFINE_integer("seed", 0, "of initial weights, order of the faces and views")
    flags.DEFINE_enum("strategy", "none", strategies.STRATEGIES, "devices that train")
    flags.DEFINE_string("tpu", "local", "address of the TPU for --strategy=tpu")
    flags.DEFINE_integer("virtual_devices", 0, "split the CPU into so many devices, to try a strategy")
    flags.DEFINE_bool(
        "resume", True, "go on with the run in --workdir; --noresume refuses to if there is one"
    )
    flags.DEFINE_string(
        "probe_dataset", None, "faces with action units to probe on; default --dataset if it has them"
    )
    flags.DEFINE_integer(
        "probe_faces", 2000, "use at most so many faces of each split for the probe; 0: no probe"
    )
    flags.DEFINE_bool("mixed_precision", False, "compute the encoder in bfloat16; losses stay float32")
    flags.DEFINE_bool("jit_compile", None, "compile the step by XLA; default as Keras decides")
    flags.DEFINE_integer(
        "max_steps",
        None,
        "stop after so many steps, to try a recipe; no probe then; 0 keeps the untrained encoder",
    )


def settings() -> presets.Preset:
    """The preset with the given flags put in.

    Raises:
        ValueError: flags that contradict each other, or a value outside its range.
    """
    given = {
        field.name: FLAGS[field.name].value
        for field in dataclasses.fields(presets.Preset)
        if FLAGS[field.name].value is not None
    }
    chosen = dataclasses.replace(presets.PRESETS[FLAGS.preset], **given)
    if chosen.contrastive_weight == 0:
        without_use = [name for name in CONTRASTIVE_ONLY if name in given]
        if without_use:
            raise ValueError(
                f"--contrastive_weight=0 drops the branch that --{without_use[0]} is for: leave one out"
            )
    elif chosen.emotion_weight == 0 and chosen.normalization == "intra_class":
        raise ValueError(
            "--emotion_weight=0 leaves the emotion prototypes untrained, and --normalization=intra_class "
            "centres on them: add --normalization=l2"
        )
    if chosen.optimizer not in OPTIMIZERS:
        raise ValueError(f"--optimizer must be one of {OPTIMIZERS}; got {chosen.optimizer!r}")
    if chosen.optimizer != "sgd" and "sgd_momentum" in given:
        raise ValueError(f"--sgd_momentum means nothing to --optimizer={chosen.optimizer}: leave one out")
    for name in ("image_size", "batch_size", "epochs"):
        if getattr(chosen, name) < 1:
            raise ValueError(f"--{name} must be positive; got {getattr(chosen, name)}")
    if FLAGS.virtual_devices < 0:
        raise ValueError(f"--virtual_devices must not be negative; got {FLAGS.virtual_devices}")
    return chosen
