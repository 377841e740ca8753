"""The flags of `trainers.pretrain`, and the checks that need nothing but their values."""

import dataclasses

from absl import flags

from keras_emoco import checks, encoders
from trainers import data, presets, strategies

FLAGS = flags.FLAGS
# Settings that the contrastive branch alone reads, and so mean nothing without it.
CONTRASTIVE_ONLY = ("queue_size", "temperature", "dictionary", "normalization", "momentum", "key_statistics")
OPTIMIZERS = ("sgd", "adamw")
COUNTS = ("image_size", "batch_size", "epochs", "queue_size", "projection_dim", "hidden_dim")
RANGES = {
    **dict.fromkeys(("base_learning_rate", "temperature"), ("positive", lambda value: value > 0)),
    **dict.fromkeys(
        ("weight_decay", "emotion_weight", "contrastive_weight", "prototype_norm"),
        ("a number of at least 0", lambda value: value >= 0),
    ),
    **dict.fromkeys(("momentum", "sgd_momentum"), ("a number in [0, 1)", lambda value: 0 <= value < 1)),
    "crop_scale_min": ("a number above 0 and at most 1", lambda value: 0 < value <= 1),
}
CHOICES = {
    "optimizer": OPTIMIZERS,
    "dictionary": ("per_class", "shared"),
    "normalization": ("intra_class", "l2"),
    "key_statistics": ("batch", "moving"),
}
MAX_SEED = 2**31 - 3  # every backend takes it, and two are added


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
    flags.DEFINE_integer(
        "seed", 0, "of initial weights, order of the faces and views", lower_bound=0, upper_bound=MAX_SEED
    )
    flags.DEFINE_enum("strategy", "none", strategies.STRATEGIES, "devices that train")
    flags.DEFINE_string("tpu", "local", "address of the TPU for --strategy=tpu")
    flags.DEFINE_integer("virtual_devices", 0, "split the CPU into so many devices, to try a strategy")
    flags.DEFINE_list(
        "data_service",
        [],
        "host:port of hosts that run trainers.data_service and make the views; default this one makes them",
    )
    flags.DEFINE_bool(
        "resume", True, "go on with the run in --workdir; --noresume refuses to if there is one"
    )
    flags.DEFINE_string(
        "probe_dataset", None, "faces with action units to probe on; default --dataset if it has them"
    )
    flags.DEFINE_integer(
        "probe_faces",
        2000,
        "use at most so many faces of each split for the probe; 0: no probe",
        lower_bound=0,
    )
    flags.DEFINE_bool("mixed_precision", False, "compute the encoder in bfloat16; losses stay float32")
    flags.DEFINE_bool("jit_compile", None, "compile the step by XLA; default as Keras decides")
    flags.DEFINE_integer(
        "max_steps",
        None,
        "stop after so many steps, to try a recipe; no probe then; 0 keeps the untrained encoder",
        lower_bound=0,
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
    for name, allowed in CHOICES.items():
        if getattr(chosen, name) not in allowed:
            raise ValueError(f"--{name} must be one of {allowed}; got {getattr(chosen, name)!r}")
    if chosen.optimizer != "sgd" and "sgd_momentum" in given:
        raise ValueError(f"--sgd_momentum means nothing to --optimizer={chosen.optimizer}: leave one out")
    for name in COUNTS:
        checks.whole_number(f"--{name}", getattr(chosen, name))
    for name, (expected, valid) in RANGES.items():
        checks.number(f"--{name}", getattr(chosen, name), expected, valid)
    if chosen.emotion_weight == chosen.contrastive_weight == 0:
        raise ValueError("--emotion_weight and --contrastive_weight are both 0: nothing would be trained")
    try:
        encoders.check(chosen.encoder, chosen.image_size)
    except ValueError as error:
        raise ValueError(f"--encoder and --image_size: {error}") from error
    if FLAGS.virtual_devices < 0:
        raise ValueError(f"--virtual_devices must not be negative; got {FLAGS.virtual_devices}")
    return chosen
