"""What a checkpoint promises: a run that diverges keeps it, damage is noticed, an epoch goes on inside."""

import contextlib
import json
import os
import shutil
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_emoco
from trainers.checkpoints import FILES, Checkpoints, Stopped

STEPS = 3  # in an epoch
FIT = {"steps_per_epoch": STEPS, "shuffle": False, "verbose": 0}


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(4, 3, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    model = keras_emoco.EmoCo(encoder, num_classes=2, projection_dim=4, hidden_dim=8, queue_size=4, seed=0)
    model.compile(keras_emoco.optimizers.sgd(0.05))
    return model


def batches(first_step=0, nan_at=None):
    """Endless; a function of the step."""
    views = np.random.default_rng(0).normal(size=(2, 12, 4, 8, 8, 3)).astype("float32")
    if nan_at is not None:
        views[0, nan_at - 1, 1] = np.nan
    labels = np.tile(np.arange(4) % 2, (12, 1))
    return tf.data.Dataset.from_tensor_slices((tuple(views), labels)).repeat().skip(first_step)


def state(model):
    return [keras.ops.convert_to_numpy(v) for v in [*model.variables, *model.optimizer.variables]]


def assert_same(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_nan_image_stops_training_at_its_step_and_the_checkpoint_before_it_stays(model, tmp_path):
    saver = Checkpoints(tmp_path, STEPS)
    model.fit(batches(), callbacks=[saver], **FIT)
    good = model.get_weights()
    with pytest.raises(FloatingPointError, match=r"nan at step 5: .*checkpoint: .*/step_000000003\."):
        model.fit(batches(STEPS, nan_at=5), callbacks=[saver], **FIT)
    assert saver.restore(model) == STEPS
    assert_same(model.get_weights(), good)


def test_checksums_are_those_of_sha256sum(model, tmp_path):
    model.fit(batches(), callbacks=[Checkpoints(tmp_path, STEPS)], **FIT)
    path = tmp_path / "step_000000003"
    assert sorted(p.name for p in path.iterdir()) == ["SHA256SUMS", *FILES]
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=path, check=True)


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file):
    file.write_bytes(file.read_bytes()[:-2])


def empty(file):
    file.write_bytes(b"")


def remove(file):
    file.unlink()


def test_damaged_newest_gives_way_to_the_one_before_and_nothing_half_written_is_taken(
    model, tmp_path, capsys
):
    model.fit(batches(), epochs=2, callbacks=[Checkpoints(tmp_path / "good", STEPS)], **FIT)
    expected = Checkpoints(tmp_path / "good", STEPS)
    shutil.copytree(tmp_path / "good" / "step_000000003", tmp_path / "first" / "step_000000003")
    assert Checkpoints(tmp_path / "first", STEPS).restore(model) == STEPS
    first = state(model)
    for damage in (flip, truncate, empty, remove):
        for name in (*FILES, "SHA256SUMS"):
            directory = tmp_path / f"{damage.__name__}_{name}"
            shutil.copytree(tmp_path / "good", directory)
            shutil.copytree(directory / "step_000000006", directory / "partial_000000009")
            damage(directory / "step_000000006" / name)
            assert expected.restore(model) == 2 * STEPS
            saver = Checkpoints(directory, STEPS)
            assert saver.restore(model) == STEPS, (damage, name)
            assert len(saver.history) == 1
            assert_same(state(model), first)
            said = capsys.readouterr().out
            assert f"checkpoint {directory / 'step_000000006'} is damaged (" in said
            assert name in said
            assert "going on from step_000000003" in said
            assert (directory / "damaged_000000006").exists(), "it is not counted among the newest"


def test_all_damaged_is_an_error_and_leaves_them_and_the_model_alone(model, tmp_path):
    model.fit(batches(), epochs=2, callbacks=[Checkpoints(tmp_path, STEPS)], **FIT)
    before = state(model)
    for path in tmp_path.iterdir():
        truncate(path / "model.weights.h5")
    with pytest.raises(ValueError, match=r"all checkpoints are damaged \(.*step_000000006: model.weights"):
        Checkpoints(tmp_path, STEPS).restore(model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_000000003", "step_000000006"]
    assert_same(state(model), before)


def test_data_of_another_length_is_refused(model, tmp_path):
    model.fit(batches(), callbacks=[Checkpoints(tmp_path, STEPS)], **FIT)
    with pytest.raises(ValueError, match="3 steps in an epoch and the data now gives 4"):
        Checkpoints(tmp_path, 4).restore(model)


@pytest.mark.parametrize("stop_at", [1, 4, 5, 6])
def test_stopped_after_a_step_it_goes_on_exactly(stop_at, model, tmp_path):
    start = state(model)
    whole = Checkpoints(tmp_path / "whole", STEPS)
    model.fit(batches(), epochs=3, callbacks=[whole], **FIT)
    expected = state(model)
    for variable, value in zip([*model.variables, *model.optimizer.variables], start, strict=False):
        variable.assign(value)
    for variable in model.optimizer.variables:
        if variable is not model.optimizer.learning_rate:
            variable.assign(keras.ops.zeros_like(variable))

    asked = iter(range(1, 100))
    saver = Checkpoints(tmp_path / "stopped", STEPS, stop=lambda: next(asked) >= stop_at)
    with pytest.raises(Stopped, match=f"after step {stop_at}"):
        model.fit(batches(), epochs=3, callbacks=[saver], **FIT)
    saver = Checkpoints(tmp_path / "stopped", STEPS)
    assert saver.restore(model) == stop_at
    rest = -stop_at % STEPS
    if rest:
        model.fit(batches(stop_at), callbacks=[saver], **{**FIT, "steps_per_epoch": rest})
    first = -(-stop_at // STEPS)
    model.fit(batches(first * STEPS), initial_epoch=first, epochs=3, callbacks=[saver], **FIT)
    assert_same(state(model), expected)
    # The logs of the epoch that was cut are those of the whole one.
    assert json.dumps(saver.history) == json.dumps(whole.history)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounts a tmpfs, which root alone may")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("left", [4])
def test_full_disk_loses_no_checkpoint_and_the_run_goes_on_when_there_is_room(left, model, small_disk):
    directory = small_disk / "checkpoints"
    model.fit(batches(), callbacks=[Checkpoints(directory, STEPS)], **FIT)
    after_first = state(model)
    with (small_disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    os.truncate(small_disk / "filler", (small_disk / "filler").stat().st_size - 1024 * left)
    saver = Checkpoints(directory, STEPS)
    assert saver.restore(model) == STEPS
    with pytest.raises(
        OSError, match=r"cannot write the checkpoint of step 6 in .*checkpoint: .*step_000000003\."
    ):
        model.fit(batches(STEPS), initial_epoch=1, epochs=2, callbacks=[saver], **FIT)
    assert [p.name for p in directory.iterdir()] == ["step_000000003"]
    (small_disk / "filler").unlink()
    saver = Checkpoints(directory, STEPS)
    assert saver.restore(model) == STEPS
    assert_same(state(model), after_first)
    model.fit(batches(STEPS), initial_epoch=1, epochs=2, callbacks=[saver], **FIT)
    assert Checkpoints(directory, STEPS).restore(model) == 2 * STEPS
