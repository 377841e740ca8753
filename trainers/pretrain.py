"""Pretrain EmoCo on expression-labelled faces, then probe its frozen features for action units.

With no flags: the demo preset on the built-in synthetic faces. The paper's recipe is
`--preset=paper`. A run that was killed goes on when the same command is given again.
"""

import dataclasses
import json
import os
import pathlib
import sys
import time

import keras
import numpy as np
from absl import app, flags, logging

import keras_emoco
from keras_emoco import augment
from trainers import checkpoints, data, features, figures, presets, probe, strategies, workdir

FLAGS = flags.FLAGS
# Settings that the contrastive branch alone reads, and so mean nothing without it.
CONTRASTIVE_ONLY = ("queue_size", "temperature", "dictionary", "normalization", "momentum")
OPTIMIZERS = ("sgd", "adamw")


def define_flags():
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
        "begin with the weights in this file: MoCo's, torchvision's or timm's .pth, .safetensors, or .keras",
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
    flags.DEFINE_integer("probe_faces", 2000, "use at most so many faces of each split for the probe")
    flags.DEFINE_bool("mixed_precision", False, "compute the encoder in bfloat16; losses stay float32")
    flags.DEFINE_bool("jit_compile", None, "compile the step by XLA; default as Keras decides")
    flags.DEFINE_integer("max_steps", None, "stop after so many steps, to try a recipe; no probe then")


def main(_):
    """Check everything, train, report."""
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    try:
        settings = read_settings()
        devices = strategies.create(FLAGS.strategy, virtual_devices=FLAGS.virtual_devices, tpu=FLAGS.tpu)
        remainder = settings.batch_size % devices.replicas
        if remainder:
            raise ValueError(
                f"--batch_size={settings.batch_size} does not divide among {devices.replicas} replicas: use "
                f"{settings.batch_size - remainder or devices.replicas}"
            )
        # Built here for the errors of its file, before a data set is.
        account = build_encoder(settings)[1] if FLAGS.init_from else None
        directory = pathlib.Path(FLAGS.workdir or f"runs/{FLAGS.preset}-{settings.dataset.replace('/', '-')}")
        with devices.first_process_first():
            if devices.process == 0:
                open_workdir(directory, settings)
                if account:
                    record_initial_weights(account, directory)
            builder = data.prepare(settings.dataset, FLAGS.data_dir, FLAGS.manual_dir)
            emotions = data.emotion_names(builder)
            probed = probe_builder(builder)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    history, initial_weights = train(settings, devices, builder, len(emotions), directory)
    devices.part()
    if FLAGS.max_steps is None and devices.process == 0:
        report(settings, directory, history, initial_weights, probed, emotions)


def read_settings() -> presets.Preset:
    """The preset with the given flags put in.

    Raises:
        ValueError: flags that contradict each other, or a value outside its range.
    """
    given = {
        field.name: FLAGS[field.name].value
        for field in dataclasses.fields(presets.Preset)
        if FLAGS[field.name].value is not None
    }
    settings = dataclasses.replace(presets.PRESETS[FLAGS.preset], **given)
    if settings.contrastive_weight == 0:
        without_use = [name for name in CONTRASTIVE_ONLY if name in given]
        if without_use:
            raise ValueError(
                f"--contrastive_weight=0 drops the branch that --{without_use[0]} is for: leave one out"
            )
    elif settings.emotion_weight == 0 and settings.normalization == "intra_class":
        raise ValueError(
            "--emotion_weight=0 leaves the emotion prototypes untrained, and --normalization=intra_class "
            "centres on them: add --normalization=l2"
        )
    if settings.optimizer not in OPTIMIZERS:
        raise ValueError(f"--optimizer must be one of {OPTIMIZERS}; got {settings.optimizer!r}")
    if settings.optimizer != "sgd" and "sgd_momentum" in given:
        raise ValueError(f"--sgd_momentum means nothing to --optimizer={settings.optimizer}: leave one out")
    for name in ("image_size", "batch_size", "epochs"):
        if getattr(settings, name) < 1:
            raise ValueError(f"--{name} must be positive; got {getattr(settings, name)}")
    if FLAGS.virtual_devices < 0:
        raise ValueError(f"--virtual_devices must not be negative; got {FLAGS.virtual_devices}")
    return settings


def open_workdir(directory: pathlib.Path, settings):
    """Make the work directory and put the configuration into it, or find the same one there.

    Raises:
        ValueError: the directory holds another run, or a run and `--noresume`.
        OSError: it cannot be written.
    """
    if not FLAGS.resume and (directory / "config.json").exists():
        raise ValueError(f"--workdir={directory} holds a run: give another, or leave out --noresume to go on")
    more = {"seed": FLAGS.seed, "mixed_precision": FLAGS.mixed_precision}
    if FLAGS.init_from:
        more["init_from"] = features.digest(pathlib.Path(FLAGS.init_from))
    workdir.open_workdir(directory, {**more, **dataclasses.asdict(settings)})


def record_initial_weights(account, directory):
    """Print what became of the tensors of `--init_from`, and write all their names to `init_from.json`."""
    print(f"{FLAGS.init_from}: {account}")
    text = json.dumps({"file": FLAGS.init_from, **dataclasses.asdict(account)}, indent=1)
    workdir.write_text(directory / "init_from.json", text)


def probe_builder(builder):
    """The builder of the faces to probe on, prepared before hours are spent; None if there is none."""
    if FLAGS.probe_dataset:
        probed = data.prepare(FLAGS.probe_dataset, FLAGS.data_dir, FLAGS.manual_dir)
        if "action_units" not in probed.info.features:
            raise ValueError(
                f"--probe_dataset={FLAGS.probe_dataset} has no action units: name a set that has"
            )
        return probed
    return builder if "action_units" in builder.info.features else None


def build_encoder(settings):
    """The encoder of a recipe, and the account of the weights it begins with, None for random ones.

    Raises:
        FileNotFoundError, ValueError: as `keras_emoco.weights.load`.
    """
    encoder = keras_emoco.encoders.build(settings.encoder, settings.image_size)
    return encoder, FLAGS.init_from and keras_emoco.weights.load(encoder, FLAGS.init_from)


def build_model(settings, num_classes: int) -> keras_emoco.EmoCo:
    """The model of a recipe, not yet compiled."""
    return keras_emoco.EmoCo(
        build_encoder(settings)[0],
        num_classes=num_classes,
        projection_dim=settings.projection_dim,
        hidden_dim=settings.hidden_dim,
        queue_size=settings.queue_size,
        dictionary=settings.dictionary,
        normalization=settings.normalization,
        temperature=settings.temperature,
        emotion_weight=settings.emotion_weight,
        contrastive_weight=settings.contrastive_weight,
        momentum=settings.momentum,
        seed=FLAGS.seed,
    )


def train(settings, devices, builder, num_classes, directory):
    """Train to the end of the recipe; returns history, and the weights the encoder had at its start."""
    faces = data.examples(builder, settings.split)
    steps_per_epoch = int(faces.cardinality()) // settings.batch_size
    if steps_per_epoch == 0:
        sys.exit(f"error: --batch_size={settings.batch_size} exceeds the {int(faces.cardinality())} faces")
    recipe_steps = steps_per_epoch * settings.epochs
    steps = min(FLAGS.max_steps or recipe_steps, recipe_steps)
    first = devices.process == 0
    saver = checkpoints.Checkpoints(directory / "checkpoints", writes=first)
    with devices.scope:
        model = compiled_model(settings, num_classes, recipe_steps)
        initial_weights = model.encoder.get_weights()
        first_step = saver.restore(model)
    if first:
        announce(settings, model, directory, first_step, steps)
    start = time.time()
    for step, initial_epoch, epochs, steps_each in whole_and_part_epochs(first_step, steps, steps_per_epoch):
        tensorboard = keras.callbacks.TensorBoard(directory / "tensorboard", update_freq="epoch")
        model.fit(
            views(faces, settings, devices, step),
            steps_per_epoch=steps_each,
            initial_epoch=initial_epoch,
            epochs=epochs,
            shuffle=False,
            callbacks=[saver, tensorboard] if first else [saver],
            verbose=0 if not first else 1 if sys.stdout.isatty() else 2,
        )
    if first:
        if first_step < steps:
            print(f"trained {steps - first_step} steps in {time.time() - start:.0f} s")
        # The encoder is saved beside its final name and moved: a reader never sees half of it.
        model.encoder.save(directory / "encoder.partial.keras")
        os.replace(directory / "encoder.partial.keras", directory / "encoder.keras")
    return saver.history, initial_weights


def views(faces, settings, devices, first_step):
    """The batches of two views from a step on; of several processes, the share of this one."""
    return augment.two_views(
        faces,
        settings.image_size,
        settings.batch_size,
        policy=augment.Policy(crop_scale=(settings.crop_scale_min, 1.0)),
        seed=FLAGS.seed,
        first_step=first_step,
        num_shards=devices.processes,
        shard=devices.process,
    )


def compiled_model(settings, num_classes, recipe_steps):
    """The model ready for `fit`."""
    if FLAGS.mixed_precision:
        keras.mixed_precision.set_global_policy("mixed_bfloat16")
    keras.utils.set_random_seed(FLAGS.seed)
    model = build_model(settings, num_classes)
    rate = keras_emoco.optimizers.cosine(settings.base_learning_rate, settings.batch_size, recipe_steps)
    if settings.optimizer == "adamw":
        optimizer = keras.optimizers.AdamW(rate, settings.weight_decay)
    else:
        optimizer = keras_emoco.optimizers.sgd(rate, settings.sgd_momentum, settings.weight_decay)
    model.compile(optimizer, **({} if FLAGS.jit_compile is None else {"jit_compile": FLAGS.jit_compile}))
    return model


def whole_and_part_epochs(first_step: int, last_step: int, steps_per_epoch: int):
    """Calls of `fit` from one step to another: the rest of an epoch, whole epochs, a part of one.

    Only `--max_steps` ends inside an epoch; what follows it must still begin its epochs where they begin.

    Yields:
        `(first step, initial_epoch, epochs, steps_per_epoch)`.
    """
    step = first_step
    while step < last_step:
        epoch, done = divmod(step, steps_per_epoch)
        whole = (last_step - step) // steps_per_epoch if done == 0 else 0
        steps_each = steps_per_epoch if whole else min(steps_per_epoch - done, last_step - step)
        yield step, epoch, epoch + max(whole, 1), steps_each
        step += max(whole, 1) * steps_each


def announce(settings, model, directory, first_step, steps):
    """Print what will be trained, and how."""
    print(f"EmoCo, preset {FLAGS.preset}, on {keras.backend.backend()}; run in {directory}")
    for name, value in dataclasses.asdict(settings).items():
        print(f"  {name:20} {value}")
    millions = sum(int(np.prod(v.shape)) for v in model.trainable_variables) / 1e6
    dictionary = int(np.prod(model.dictionary.queues.shape)) * 4 / 2**20
    print(f"  {millions:.1f} million trained weights; dictionary {dictionary:.0f} MiB; {steps} steps")
    if first_step:
        print(f"  going on after step {first_step}")


def report(settings, directory, history, initial_weights, probed, emotion_names):
    """Probe both encoders for action units; print and write the F1 table, and the picture."""
    faces = scores = x = None
    title = f"EmoCo, preset {FLAGS.preset}: {settings.encoder} at {settings.image_size}, {settings.dataset}"
    if probed is None:
        print(f"{settings.dataset} has no action units: name a set that has by --probe_dataset to probe")
    else:
        faces = probe.load(probed, FLAGS.probe_faces)
        print(f"linear probe on {len(faces.occurrence)} faces of {probed.info.full_name}")
        encoder = keras.saving.load_model(directory / "encoder.keras", compile=False)
        initial = keras.models.clone_model(encoder)
        initial.set_weights(initial_weights)
        initial_name = "initial" if FLAGS.init_from else "untrained"
        x = {
            name: probe.features(network, faces.examples, settings.image_size, settings.center_crop)
            for name, network in ((initial_name, initial), ("EmoCo", encoder))
        }
        scores = {name: probe.linear_probe(faces, value) for name, value in x.items()}
        x = x["EmoCo"]
        text = probe.table(faces, scores)
        print(f"F1 in % of a linear classifier on frozen features\n{text}")
        workdir.write_text(directory / "f1.txt", text + "\n")
    figures.summary(directory / "summary.png", history, faces, scores, x, emotion_names, title)
    print(f"wrote encoder.keras and summary.png in {directory}; curves: tensorboard --logdir {directory}")


if __name__ == "__main__":
    define_flags()
    app.run(main)
