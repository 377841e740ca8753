"""Pretrain EmoCo on expression-labelled faces, then probe its frozen features for action units.

With no flags: the demo preset on the built-in synthetic faces. The paper's recipe is
`--preset=paper`. A run that was killed goes on when the same command is given again.
"""

import dataclasses
import json
import pathlib
import sys
import time

import keras
import numpy as np
import tensorflow_datasets as tfds
from absl import app, flags, logging

import keras_emoco
from keras_emoco import augment
from trainers import (
    checkpoints,
    data,
    data_service,
    faults,
    figures,
    pretrain_flags,
    probe,
    strategies,
    termination,
    workdir,
)

FLAGS = flags.FLAGS


def main(_):
    """Check everything, train, report."""
    if not FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)
    processes = 1
    try:
        settings = pretrain_flags.settings()
        devices = strategies.create(FLAGS.strategy, virtual_devices=FLAGS.virtual_devices, tpu=FLAGS.tpu)
        processes = devices.processes
        remainder = settings.batch_size % devices.replicas
        if remainder:
            raise ValueError(
                f"--batch_size={settings.batch_size} does not divide among {devices.replicas} replicas: use "
                f"{settings.batch_size - remainder or devices.replicas}"
            )
        augment.service.check(FLAGS.data_service, settings.batch_size // devices.processes)
        # Built here for the errors of its file, before a data set is.
        initial, account = build_encoder(settings) if FLAGS.init_from else (None, None)
        directory = pathlib.Path(FLAGS.workdir or f"runs/{FLAGS.preset}-{settings.dataset.replace('/', '-')}")
        with devices.first_process_first():
            grown = {}
            if devices.process == 0:
                grown = open_workdir(directory, settings, initial)
                if account:
                    record_initial_weights(account, directory)
            builder = data.prepare(settings.dataset, FLAGS.data_dir, FLAGS.manual_dir)
            num_classes = len(data.emotion_names(builder))
            if FLAGS.data_service and builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
                raise ValueError(
                    f"{builder.data_path} is ArrayRecord, which Python reads, and the data service has none: "
                    "build the data set as TFRecord, or leave out --data_service"
                )
            probed = probe_builder(builder)
    except (ValueError, OSError) as error:
        faults.end(error, processes, refused=True)
    try:
        with termination.noted(processes) as asked, data_service.watched(FLAGS.data_service):
            trained = train(settings, devices, builder, num_classes, directory, grown, asked)
            if asked():
                raise checkpoints.Stopped("stopped after training: the same command goes on with the probe")
        devices.part()
        if FLAGS.max_steps is None and devices.process == 0:
            report(settings, directory, *trained, probed)
    except checkpoints.Stopped as stopped:
        devices.part()
        print(stopped, flush=True)
        sys.exit(termination.EXIT_CODE)
    except Exception as error:
        faults.end(error, processes, [b for b in (builder, probed) if b])


def open_workdir(directory: pathlib.Path, settings, initial: keras.Model | None = None) -> dict:
    """Make the work directory and put the configuration into it, or find the same one there.

    Args:
        directory: the work directory.
        settings: the recipe.
        initial: an encoder with the weights that the run begins with; None for random ones.

    Returns:
        `{"epochs": number before}` if the run is to become longer, else nothing.

    Raises:
        ValueError: the directory holds another run, or a run and `--noresume`, or one is at work in it.
        OSError: it cannot be written.
    """
    if not FLAGS.resume and (directory / "config.json").exists():
        raise ValueError(f"--workdir={directory} holds a run: give another, or leave out --noresume to go on")
    more = {"seed": FLAGS.seed, "mixed_precision": FLAGS.mixed_precision}
    if initial:
        # Of the weights, not of a file: a preset is many files, or a name.
        more["init_from"] = workdir.digest(initial.get_weights())
    return workdir.open_workdir(directory, {**more, **dataclasses.asdict(settings)}, may_grow=("epochs",))


def record_initial_weights(account, directory):
    """Print what became of the tensors of `--init_from`, and write all their names to `init_from.json`."""
    print(f"{FLAGS.init_from}: {account}")
    text = json.dumps({"file": FLAGS.init_from, **dataclasses.asdict(account)}, indent=1)
    workdir.write_text(directory / "init_from.json", text)


def probe_builder(builder):
    """The builder of the faces to probe on, prepared before hours are spent; None if there is none."""
    if FLAGS.probe_faces == 0:
        return None
    if FLAGS.probe_dataset:
        probed = data.prepare(FLAGS.probe_dataset, FLAGS.data_dir, FLAGS.manual_dir)
        data.action_unit_numbers(probed)
        return probed
    return builder if "action_units" in builder.info.features else None


def build_encoder(settings):
    """The encoder of a recipe, and the account of the weights it begins with, None for random ones.

    Raises:
        FileNotFoundError, ConnectionError, ValueError: as `keras_emoco.weights.load`.
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
        prototype_norm=settings.prototype_norm or None,
        key_statistics=settings.key_statistics,
        emotion_weight=settings.emotion_weight,
        contrastive_weight=settings.contrastive_weight,
        momentum=settings.momentum,
        seed=FLAGS.seed,
    )


def train(settings, devices, builder, num_classes, directory, grown, stop):
    """Train to the end of the recipe; returns history, and the weights the encoder had at its start.

    Raises:
        checkpoints.Stopped: `stop()` was true after a step.
    """
    faces = data.examples(builder, settings.split)
    steps_per_epoch = int(faces.cardinality()) // settings.batch_size
    if steps_per_epoch == 0:
        sys.exit(f"error: --batch_size={settings.batch_size} exceeds the {int(faces.cardinality())} faces")
    recipe_steps = steps_per_epoch * settings.epochs
    steps = recipe_steps if FLAGS.max_steps is None else min(FLAGS.max_steps, recipe_steps)
    first = devices.process == 0
    saver = checkpoints.Checkpoints(directory / "checkpoints", steps_per_epoch, writes=first, stop=stop)
    try:
        # Damaged checkpoints are set aside by the first process; making variables is work for all at once.
        with devices.first_process_first():
            newest = saver.newest_whole()
        with devices.scope:
            model = compiled_model(settings, num_classes, recipe_steps)
            initial_weights = model.encoder.get_weights()
            first_step = saver.restore(model, newest)
    except ValueError as error:
        faults.end(error, devices.processes, refused=True)
    if first:
        announce(settings, model, directory, first_step, steps, grown)
    start = time.monotonic()
    for step, initial_epoch, epochs, steps_each in whole_and_part_epochs(first_step, steps, steps_per_epoch):
        tensorboard = keras.callbacks.TensorBoard(directory / "tensorboard", update_freq="epoch")
        model.fit(
            views(faces, settings, devices, step),
            steps_per_epoch=steps_each,
            initial_epoch=initial_epoch,
            epochs=epochs,
            shuffle=False,
            callbacks=[tensorboard, saver] if first else [saver],
            verbose=0 if not first else 1 if sys.stdout.isatty() else 2,
        )
    if first:
        if first_step < steps:
            print(f"trained {steps - first_step} steps in {time.monotonic() - start:.0f} s")
        with workdir.replaced(directory / "encoder.keras") as partial:
            model.encoder.save(partial)
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
        data_service=FLAGS.data_service,
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

    `--max_steps` and SIGTERM end inside an epoch; what follows must still begin its epochs where they begin.

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


def announce(settings, model, directory, first_step, steps, grown):
    """Print what will be trained, and how."""
    print(f"EmoCo, preset {FLAGS.preset}, on {keras.backend.backend()}; run in {directory}")
    for name, value in dataclasses.asdict(settings).items():
        print(f"  {name:20} {value}")
    millions = sum(int(np.prod(v.shape)) for v in model.trainable_variables) / 1e6
    dictionary = int(np.prod(model.dictionary.queues.shape)) * 4 / 2**20
    print(f"  {millions:.1f} million trained weights; dictionary {dictionary:.0f} MiB; {steps} steps")
    if first_step:
        print(f"  going on after step {first_step}")
    if grown:
        print(
            f"  {grown['epochs']} epochs before, {settings.epochs} now: the learning rate follows the cosine "
            f"of {settings.epochs} from here on, that of {grown['epochs']} before: the weights will not be "
            f"those of a run of {settings.epochs} from its start"
        )


def report(settings, directory, history, initial_weights, probed):
    """Probe both encoders for action units; print and write the F1 table, and the picture."""
    faces = scores = x = None
    title = f"EmoCo, preset {FLAGS.preset}: {settings.encoder} at {settings.image_size}, {settings.dataset}"
    if probed is None:
        why = "--probe_faces=0" if FLAGS.probe_faces == 0 else f"{settings.dataset} has no action units"
        print(f"no probe: {why}; trainers.evaluate can, on any set that has them")
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
    figures.summary(directory / "summary.png", history, faces, scores, x, title)
    print(f"wrote encoder.keras and summary.png in {directory}; curves: tensorboard --logdir {directory}")


if __name__ == "__main__":
    pretrain_flags.define()
    app.run(main)
