"""The main program, as a user runs it: real processes, real TFDS builds, real files."""

import json
import re

import keras
import keras_hub
import numpy as np
from PIL import Image

import keras_emoco


def weights(path):
    return keras.saving.load_model(path, compile=False).get_weights()


def test_run_to_the_end(pretrain, tmp_path):
    workdir = tmp_path / "run"
    flags = ("--epochs=2", "--probe_dataset=action_unit_folder/units", f"--workdir={workdir}")
    code, output, error = pretrain(*flags)
    assert code == 0, error
    assert re.search(r"queue_size +64", output), "the configuration is printed"
    assert re.search(r"AU12 .*\navg +", output), "the F1 table is printed"
    assert (workdir / "f1.txt").read_text() in output
    settings = json.loads((workdir / "config.json").read_text())["settings"]
    assert (settings["queue_size"], settings["seed"], settings["temperature"]) == (64, 0, 0.2)
    with Image.open(workdir / "summary.png") as picture:
        assert picture.size[0] >= 1000
        assert np.asarray(picture.convert("L")).std() > 10, "something is drawn"
    assert keras.saving.load_model(workdir / "encoder.keras").output_shape == (None, 512)
    assert list((workdir / "tensorboard").rglob("events.out.tfevents.*"))
    # The last two epochs' checkpoints, and nothing half-written.
    assert sorted(p.name for p in (workdir / "checkpoints").iterdir()) == ["step_000000004", "step_000000008"]
    assert not list(workdir.rglob("*partial*"))

    code, output, error = pretrain(*flags)
    assert code == 0, error
    assert "going on after step 8" in output
    assert "\ntrained " not in output, "a finished run is not trained again"
    code, _, error = pretrain(*flags, "--seed=1")
    assert code != 0
    assert "holds results of other settings (seed 0 -> 1)" in error
    code, _, error = pretrain(*flags, "--noresume")
    assert code != 0
    assert "holds a run: give another" in error


def test_killed_run_ends_as_one_never_interrupted(pretrain, kill_when, one_thread, tmp_path):
    code, _, error = pretrain("--epochs=4", f"--workdir={tmp_path / 'whole'}", **one_thread)
    assert code == 0, error

    process = pretrain("--epochs=4", f"--workdir={tmp_path / 'killed'}", wait=False, **one_thread)
    kill_when(process, lambda: list((tmp_path / "killed").glob("checkpoints/step_*")))
    assert not (tmp_path / "killed" / "encoder.keras").exists(), "killed before the end"
    code, output, error = pretrain("--epochs=4", f"--workdir={tmp_path / 'killed'}", **one_thread)
    assert code == 0, error
    assert re.search(r"going on after step \d+", output)

    for one, two in zip(
        weights(tmp_path / "whole" / "encoder.keras"),
        weights(tmp_path / "killed" / "encoder.keras"),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)
    histories = [
        json.loads((tmp_path / run / "checkpoints/step_000000016/history.json").read_text())
        for run in ("whole", "killed")
    ]
    assert [len(history) for history in histories] == [4, 4]
    for one, two in zip(*histories, strict=True):
        assert one["loss"] == two["loss"]


def test_mirrored_run_on_two_virtual_devices(pretrain, tmp_path):
    code, output, error = pretrain(
        "--max_steps=6", f"--workdir={tmp_path}", "--strategy=mirrored", "--virtual_devices=2"
    )
    assert code == 0, error
    assert "trained 6 steps" in output, "one epoch of 4 and half of the next"
    assert (tmp_path / "checkpoints/step_000000006").exists()
    assert (tmp_path / "encoder.keras").exists()


def test_loss_that_is_not_finite_stops_the_run(pretrain, tmp_path):
    code, _, error = pretrain(
        "--epochs=30",
        f"--workdir={tmp_path / 'bad'}",
        "--optimizer=sgd",
        "--base_learning_rate=1e38",
        "--weight_decay=1e38",
    )
    assert code != 0
    message = re.search(
        r"the loss is (nan|inf) at step (\d+): training stopped. Last good checkpoint: ", error
    )
    assert message, error
    assert not (tmp_path / "bad" / "encoder.keras").exists()


def test_work_directory_that_cannot_be_written(pretrain, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, error = pretrain(f"--workdir={tmp_path / 'file' / 'run'}")
    assert code != 0
    assert f"cannot write to --workdir={tmp_path / 'file' / 'run'}" in error
    assert "Traceback" not in error


def test_data_that_is_not_there(pretrain, tmp_path):
    code, _, error = pretrain(
        f"--manual_dir={tmp_path}", f"--data_dir={tmp_path / 'data'}", f"--workdir={tmp_path / 'run'}"
    )
    assert code != 0
    assert str(tmp_path) in error
    assert "kaggle" in error.lower(), "it says where the data set is to be had"
    assert "Traceback" not in error


def test_begins_with_the_weights_of_a_file(pretrain, tmp_path):
    source = keras_emoco.encoders.build("resnet18", 64)
    file = tmp_path / "published.safetensors"
    keras_emoco.weights.save(source, file)
    flags = (
        f"--init_from={file}",
        f"--workdir={tmp_path / 'run'}",
        "--base_learning_rate=1e-12",
        "--max_steps=1",
    )
    code, output, error = pretrain(*flags)
    assert code == 0, error
    assert f"{file}: 100 tensors used, which fill all of the encoder; 0 left" in output
    account = json.loads((tmp_path / "run" / "init_from.json").read_text())
    assert account["used"]["layer4.1.conv2.weight"] == "stack3_block1_2_conv/kernel"
    trained = keras.saving.load_model(tmp_path / "run" / "encoder.keras", compile=False)
    for one, two in zip(source.trainable_variables, trained.trainable_variables, strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6, err_msg=f"{one.path} has hardly moved")

    code, _, error = pretrain(*flags, "--encoder=resnet34")
    assert code == 1
    assert (
        "published.safetensors: tensor layer1.2.conv1.weight is missing; the file is of a resnet18" in error
    )
    assert "Traceback" not in error
    # Another start: a preset of keras_hub, of random weights.
    keras_hub.models.ResNetBackbone(
        [64], [7], [64, 128, 256, 512], [2, 2, 2, 2], [1, 2, 2, 2], "basic_block"
    ).save_to_preset(tmp_path / "preset")
    code, _, error = pretrain(f"--init_from={tmp_path / 'preset'}", *flags[1:])
    assert code == 1
    assert "holds results of other settings (init_from" in error
