"""The evaluation, as a user runs it: real processes, real files, killed and resumed."""

import json
import os
import pathlib
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import keras_emoco
from trainers import results

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """File of a small encoder that sees where the bar of a made-up face is."""
    keras.utils.set_random_seed(0)
    images = keras.Input((32, 32, 3))
    path = tmp_path_factory.mktemp("encoder") / "encoder.keras"
    keras_emoco.encoders.build(keras.Model(images, keras.layers.Conv2D(8, 32)(images))).save(path)
    return path


@pytest.fixture
def evaluate(encoder, manual_dir, tmp_path_factory):
    """`evaluate(*flags, wait=True)` runs `python -m trainers.evaluate` on 36 made-up faces."""
    base = tmp_path_factory.getbasetemp()

    def run(*flags, wait=True, **environment):
        command = [sys.executable, "-m", "trainers.evaluate", f"--encoder={encoder}"]
        command += [f"--manual_dir={manual_dir}", f"--data_dir={base / 'tensorflow_datasets'}"]
        command += ["--dataset=action_unit_folder/units", f"--cache_dir={base / 'features'}", *flags]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        if not wait:
            return process
        output, error = process.communicate(timeout=600)
        return process.returncode, output, error

    return run


def test_linear_to_the_end(evaluate, tmp_path):
    workdir = tmp_path / "linear"
    code, output, error = evaluate(f"--workdir={workdir}", "--show_faces")
    assert code == 0, error
    for name in ("neighbours.png", "confusion.png"):
        with Image.open(workdir / name) as picture:
            picture.verify()
    text = (workdir / "f1.txt").read_text()
    assert text in output
    assert re.search(r"Methods/AU +1 +12 +Avg\.\nthis encoder", text)
    scores = json.loads((workdir / "scores.json").read_text())
    assert scores["units"]["1"]["f1"] > 80, "where the bar is tells AU1"
    assert f"{scores['average']['f1']:.1f}" in text
    assert (scores["folds"], scores["faces"], scores["subjects"]) == (3, 36, 6)
    with Image.open(workdir / "scores.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10, "something is drawn"
    assert json.loads((workdir / "config.json").read_text())["settings"]["protocol"] == "linear"
    assert not list(workdir.rglob("*partial*"))

    # Again, compared with itself: nothing is trained or encoded a second time but the detector.
    code, output, error = evaluate(f"--workdir={workdir}", f"--compare_to={workdir}", "--save_detector")
    assert code == 0, error
    assert output.count("done before") == 3
    assert "features from" in output
    assert re.search(r"average F1 minus that of .*: \+0\.0 \(95% from \+0\.0 to \+0\.0, p = 1\.000", output)
    detector = keras.saving.load_model(workdir / "detector.keras")
    assert detector.action_units == (1, 12)
    code, _, error = evaluate(f"--workdir={workdir}", "--threshold=train")
    assert code != 0
    assert "holds results of other settings (threshold 0.5 -> train)" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_predict_the_same(evaluate, backend, tmp_path):
    for name, own_cache in (("tensorflow", ()), (backend, (f"--cache_dir={tmp_path / 'features'}",))):
        code, output, error = evaluate(f"--workdir={tmp_path / name}", *own_cache, KERAS_BACKEND=name)
        assert code == 0, error
        assert f"linear protocol on {name}" in output
    one, two = (results.load(tmp_path / name / "predictions.npz") for name in ("tensorflow", backend))
    for mine, other in zip(one.probabilities, two.probabilities, strict=True):
        np.testing.assert_allclose(mine, other, atol=1e-3)


def test_killed_finetuning_ends_as_one_never_interrupted(evaluate, kill_when, one_thread, tmp_path):
    flags = ("--protocol=finetune", "--epochs=6", "--batch_size=8", "--threshold=train", "--balanced")
    code, _, error = evaluate(*flags, "--save_detector", f"--workdir={tmp_path / 'whole'}", **one_thread)
    assert code == 0, error

    assert (tmp_path / "whole" / "detector.keras").exists()
    process = evaluate(*flags, f"--workdir={tmp_path / 'killed'}", wait=False, **one_thread)
    first = tmp_path / "killed" / "folds" / "seed0-fold1.npz"
    kill_when(process, first.exists)
    assert not (tmp_path / "killed" / "scores.json").exists(), "killed before the end"
    code, output, error = evaluate(*flags, f"--workdir={tmp_path / 'killed'}", **one_thread)
    assert code == 0, error
    assert "seed0-fold1: done before" in output
    assert (tmp_path / "killed" / "scores.json").exists()
    one, two = (np.load(tmp_path / run / "predictions.npz") for run in ("whole", "killed"))
    for name in one:
        if name.startswith("probabilities"):
            np.testing.assert_allclose(one[name], two[name], atol=1e-3)
    thresholds = np.load(first)["thresholds"]
    assert len(set(thresholds) | {0.5}) == 3, "chosen for each unit"


def test_what_is_refused(evaluate, tmp_path):
    code, _, error = evaluate(f"--workdir={tmp_path / 'run'}", "--epochs=3")
    assert code != 0
    assert "--epochs is for --protocol=finetune" in error
    code, _, error = evaluate("--action_units=1,2", f"--workdir={tmp_path / 'run'}")
    assert code != 0
    assert "AU2 is not in the data: ask for some of AU1, AU12" in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()
