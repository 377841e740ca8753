"""The flags of `trainers.evaluate`, and the checks that need nothing but their values."""

from absl import flags

from keras_emoco import checks
from trainers import data, finetune
from trainers.pretrain_flags import MAX_SEED

FLAGS = flags.FLAGS
FINETUNE_ONLY = ("seeds", "epochs", "batch_size", "base_learning_rate")


def define():
    """What is evaluated, how, and where results go."""
    flags.DEFINE_string("encoder", None, "encoder.keras of a pretraining run", required=True)
    flags.DEFINE_string("dataset", "synthetic_faces", "TFDS name of faces with action units")
    flags.DEFINE_enum("protocol", "linear", ["linear", "finetune"], "frozen features, or the whole network")
    flags.DEFINE_list("action_units", None, "numbers of the units, e.g. 1,2,4; default all of the data")
    flags.DEFINE_string("threshold", "0.5", "probability, or 'train': of the best F1 on the training faces")
    flags.DEFINE_bool("balanced", False, "weigh present and absent faces of each unit equally in training")
    flags.DEFINE_string("emotion", None, "train and test on the faces of this emotion only, e.g. neutral")
    flags.DEFINE_bool(
        "held_out",
        False,
        "test on a third of each fold's training people, not on its test faces: to choose a recipe by",
    )
    flags.DEFINE_integer("max_faces", None, "use at most so many faces of each split, the first")
    flags.DEFINE_list(
        "seeds", ["0"], "finetune once with each, e.g. 0,1,2 as the paper on GFT; mean over all"
    )
    recipe = finetune.Recipe(image_size=0)
    flags.DEFINE_integer("epochs", recipe.epochs, "finetune: passes over the training faces")
    flags.DEFINE_integer("batch_size", recipe.batch_size, "finetune: faces in one step")
    flags.DEFINE_float(
        "base_learning_rate", recipe.base_learning_rate, "finetune: at a batch of 256; cosine to zero"
    )
    flags.DEFINE_integer("image_size", None, "side of the images, for an encoder that takes any")
    flags.DEFINE_bool(
        "center_crop",
        None,
        "use the central 224/256 of each picture, not the whole; default as the encoder's run has it",
    )
    data.define_flags()
    flags.DEFINE_string(
        "workdir", None, "where results go; default runs/<protocol>-<dataset>-<encoder's hash>"
    )
    flags.DEFINE_string("cache_dir", "runs/features", "where features of the linear protocol are kept")
    flags.DEFINE_bool(
        "show_faces",
        False,
        "linear: draw faces of the data beside their nearest, neighbours.png; mind the data's licence",
    )
    flags.DEFINE_bool(
        "save_detector",
        False,
        "then train once on all faces, and write detector.keras for trainers.predict and trainers.export",
    )
    flags.DEFINE_string("compare_to", None, "workdir of another evaluation, for a paired bootstrap")


def check():
    """Refuse flags without use and values out of range.

    Raises:
        ValueError: a flag of the other protocol, or a number that is not positive.
    """
    for name in FINETUNE_ONLY:
        if FLAGS.protocol == "linear" and FLAGS[name].present:
            raise ValueError(f"--{name} is for --protocol=finetune: leave it out, or finetune")
    if FLAGS.protocol == "finetune" and FLAGS.show_faces:
        raise ValueError("--show_faces is for --protocol=linear: leave it out, or evaluate frozen features")
    for name in ("epochs", "batch_size", "base_learning_rate", "max_faces", "image_size"):
        if FLAGS[name].value is not None:
            checks.number(f"--{name}", FLAGS[name].value, "positive", lambda value: value > 0)


def integers(name: str) -> list[int] | None:
    """The numbers of a list flag.

    Raises:
        ValueError: something else is in it.
    """
    value = FLAGS[name].value
    if value is None:
        return None
    if not value or not all(item.strip().isdecimal() for item in value):
        raise ValueError(f"--{name} must be numbers with commas between them; got {','.join(value)}")
    found = [int(item) if len(item) < 11 else MAX_SEED + 1 for item in value]
    if max(found) > MAX_SEED or len(set(found)) < len(found):
        raise ValueError(f"--{name} must be different numbers up to {MAX_SEED}; got {','.join(value)}")
    return found


def threshold() -> float | None:
    """The number of --threshold, or None for "train".

    Raises:
        ValueError: neither.
    """
    text = FLAGS.threshold
    if text == "train":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value < 1.0:
        raise ValueError(f"--threshold must be a probability in [0, 1) or 'train'; got {text}")
    return value


def condition() -> str:
    """What of the data is evaluated, for a title; empty of all of it."""
    found = f", {FLAGS.emotion} only" if FLAGS.emotion else ""
    return found + (", held-out people of the training faces" if FLAGS.held_out else "")
