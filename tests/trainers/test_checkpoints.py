"""What a checkpoint promises: a run that diverges keeps it, damage is noticed, an epoch goes on inside."""

import json
import os
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_emoco
from keras_emoco import backend
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
            keras.layers.Dropout(0.2),
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
    assert restore(saver, model) == STEPS
    assert_same(model.get_weights(), good)


def test_checksums_are_those_of_sha256sum(model, tmp_path):
    model.fit(batches(), callbacks=[Checkpoints(tmp_path, STEPS)], **FIT)
    path = tmp_path / "step_000000003"
    assert sorted(p.name for p in path.iterdir()) == ["SHA256SUMS", *FILES]
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=path, check=True)


def restore(saver, model):
    return saver.restore(model, saver.newest_whole())


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
    assert restore(Checkpoints(tmp_path / "first", STEPS), model) == STEPS
    first = state(model)
    for damage in (flip, truncate, empty, remove):
        for name in (*FILES, "SHA256SUMS"):
            directory = tmp_path / f"{damage.__name__}_{name}"
            shutil.copytree(tmp_path / "good", directory)
            shutil.copytree(directory / "step_000000006", directory / "partial_000000009")
            damage(directory / "step_000000006" / name)
            assert restore(expected, model) == 2 * STEPS
            saver = Checkpoints(directory, STEPS)
            assert restore(saver, model) == STEPS, (damage, name)
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
        restore(Checkpoints(tmp_path, STEPS), model)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_000000003", "step_000000006"]
    assert_same(state(model), before)


def test_data_of_another_length_is_refused(model, tmp_path):
    model.fit(batches(), callbacks=[Checkpoints(tmp_path, STEPS)], **FIT)
    with pytest.raises(ValueError, match="3 steps in an epoch and the data now gives 4"):
        restore(Checkpoints(tmp_path, 4), model)


@pytest.mark.parametrize("stop_at", [1, 4, 5, 6])
def test_stopped_after_a_step_it_goes_on_exactly(stop_at, model, tmp_path):
    start = state(model)
    whole = Checkpoints(tmp_path / "whole", STEPS)
    whole.random_state = draws = backend.random_state()
    model.fit(batches(), epochs=3, callbacks=[whole], **FIT)
    expected = state(model)
    for variable, value in zip([*model.variables, *model.optimizer.variables], start, strict=False):
        variable.assign(value)
    for variable in model.optimizer.variables:
        if variable is not model.optimizer.learning_rate:
            variable.assign(keras.ops.zeros_like(variable))

    asked = iter(range(1, 100))
    saver = Checkpoints(tmp_path / "stopped", STEPS, stop=lambda: next(asked) >= stop_at)
    saver.random_state = draws
    with pytest.raises(Stopped, match=f"after step {stop_at}"):
        model.fit(batches(), epochs=3, callbacks=[saver], **FIT)
    # Another process would begin with other values.
    for variable in [*model.variables, *model.optimizer.variables]:
        variable.assign(keras.ops.ones_like(variable))
    keras.utils.set_random_seed(1)
    saver = Checkpoints(tmp_path / "stopped", STEPS)
    assert restore(saver, model) == stop_at
    rest = -stop_at % STEPS
    if rest:
        model.fit(batches(stop_at), callbacks=[saver], **{**FIT, "steps_per_epoch": rest})
    first = -(-stop_at // STEPS)
    model.fit(batches(first * STEPS), initial_epoch=first, epochs=3, callbacks=[saver], **FIT)
    assert_same(state(model), expected)
    # The logs of the epoch that was cut are those of the whole one.
    assert json.dumps(saver.history) == json.dumps(whole.history)


def test_full_disk_loses_no_checkpoint_and_the_run_goes_on_when_there_is_room(model, small_disk, fill):
    directory = small_disk / "checkpoints"
    model.fit(batches(), callbacks=[Checkpoints(directory, STEPS)], **FIT)
    after_first = state(model)
    size = sum(path.stat().st_size for path in (directory / "step_000000003").iterdir()) // 1024
    refused = []
    # None, the least and the most of what is too little, and all around what a checkpoint takes.
    for left in (0, 4, 8, size // 2, *range(size - 16, size + 40, 8), None):
        fill(small_disk, left)
        saver = Checkpoints(directory, STEPS)
        assert restore(saver, model) == STEPS, left
        assert_same(state(model), after_first)
        message = r"cannot write the checkpoint of step 6 in .*No space.*checkpoint: .*step_000000003\."
        try:
            model.fit(batches(STEPS), initial_epoch=1, epochs=2, callbacks=[saver], **FIT)
        except OSError as error:
            refused.append(str(error))
            left_behind = [p.name for p in directory.iterdir()]
        else:
            left_behind = ["step_000000003"]
            assert restore(Checkpoints(directory, STEPS), model) == 2 * STEPS, left
            shutil.rmtree(directory / "step_000000006")
        assert left_behind == ["step_000000003"], left
    assert len(refused) >= 5
    assert all(re.search(message, text) for text in refused), refused
    assert not (small_disk / "filler").exists(), "the last time there was room"


def test_half_a_checkpoint_of_a_killed_run_is_removed_by_the_next(model, tmp_path):
    half = tmp_path / "partial_000000002"
    half.mkdir()
    (half / "model.weights.h5").write_bytes(b"half")
    saver = Checkpoints(tmp_path, STEPS)
    assert restore(saver, model) == 0
    model.fit(batches(), callbacks=[saver], **FIT)
    assert [p.name for p in tmp_path.iterdir()] == ["step_000000003"]


@pytest.mark.parametrize("newest_is_from", [0, 2**32], ids=["1970", "2106"])
def test_clock_that_jumps_changes_neither_which_is_newest_nor_which_are_kept(newest_is_from, model, tmp_path):
    model.fit(batches(), epochs=2, callbacks=[Checkpoints(tmp_path, STEPS)], **FIT)
    for path in (tmp_path / "step_000000006", *(tmp_path / "step_000000006").iterdir()):
        os.utime(path, (newest_is_from, newest_is_from))
    saver = Checkpoints(tmp_path, STEPS)
    assert restore(saver, model) == 2 * STEPS
    model.fit(batches(2 * STEPS), initial_epoch=2, epochs=3, callbacks=[saver], **FIT)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_000000006", "step_000000009"]


def test_checksums_are_read_once_for_a_start(model, tmp_path):
    model.fit(batches(), callbacks=[Checkpoints(tmp_path, STEPS)], **FIT)
    saver = Checkpoints(tmp_path, STEPS)
    path = saver.newest_whole()
    (path / "SHA256SUMS").unlink()
    assert saver.restore(model, path) == STEPS
