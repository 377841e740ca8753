"""The ablation as a user runs it, killed and started again; its rows against the paper's Table IV."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from trainers import ablate, results

ROOT = pathlib.Path(__file__).parents[2]
SMALL = "--dataset=fer2013 --encoder=resnet18 --image_size=32 --batch_size=28 --queue_size=64 --hidden_dim=32"


@pytest.mark.parametrize(
    ("dataset", "protocol", "expected"),
    [
        ("gft/frames", "linear", [53.0, 48.6, 47.5, 46.2, 47.6, None, None]),
        ("gft/frames", "finetune", [58.6, 57.7, 57.3, 53.3, 52.3, None, None]),
        ("bp4d/frames", "linear", [59.3, 57.8, 56.2, 55.0, 58.5, None, None]),
        ("synthetic_faces", "linear", [None] * 7),
    ],
)
def test_rows_are_those_of_table_iv(dataset, protocol, expected):
    done = {name: {0: (50.0, None)} for name in ablate.VARIANTS}
    rows = [
        ablate.row(name, changes, {name: done[name]}, dataset, protocol)
        for name, changes in ablate.VARIANTS.items()
    ]
    assert [row["paper"] for row in rows] == expected


def predictions(probabilities):
    labels = np.array([[1], [0], [1], [0], [1], [0]])
    people = np.arange(6)
    folds = [(people[3:], people[:3]), (people[:3], people[3:])]
    return results.Predictions(
        [1],
        labels,
        np.ones((6, 1), bool),
        people,
        folds,
        [np.array(probabilities)[test, None] for _, test in folds],
        np.full((2, 1), 0.5),
    )


def test_mean_deviation_and_paired_difference_over_the_seeds_that_both_have():
    right, wrong = [0.9, 0.1, 0.9, 0.1, 0.9, 0.1], [0.1, 0.9, 0.1, 0.9, 0.1, 0.9]
    done = {
        "emoco": {0: (70.0, predictions(right)), 1: (80.0, predictions(right))},
        "no_mq": {1: (10.0, predictions(right)), 2: (40.0, predictions(wrong))},
    }
    row = ablate.row("no_mq", ablate.VARIANTS["no_mq"], done, "synthetic_faces", "linear")
    assert (row["mean"], round(row["deviation"], 3)) == (25.0, 21.213)
    assert row["emoco_minus"]["difference"] == 0.0, "seed 1 alone, whose predictions are the same"
    done["no_mq"][0] = (0.0, predictions(wrong))
    row = ablate.row("no_mq", ablate.VARIANTS["no_mq"], done, "synthetic_faces", "linear")
    assert 40 < row["emoco_minus"]["difference"] < 55, "half of the folds at 100, half the same"
    text = ablate.text_table([row], "a title")
    assert re.search(r"no_mq +- +x +x +x +3 +16\.7 +20\.8 +- +\+", text)


def test_lambdas_are_rows_with_and_without_n():
    assert ablate.lambda_variants(["0.5"]) == {
        "lambda_0.5": {"emotion_weight": 0.5},
        "lambda_0.5_no_n": {"emotion_weight": 0.5, "normalization": "l2"},
    }
    with pytest.raises(ValueError, match=r"--lambdas must be positive numbers .* got 'x'"):
        ablate.lambda_variants(["1", "x"])


def test_killed_ablation_goes_on_and_does_nothing_twice(manual_dir, kill_when, tmp_path_factory, tmp_path):
    workdir = tmp_path / "ablation"
    command = [sys.executable, "-m", "trainers.ablate", f"--workdir={workdir}", "--protocols=linear"]
    command += ["--variant=emoco", "--variant=emotion_only", "--lambdas=4", f"--manual_dir={manual_dir}"]
    command += [f"--data_dir={tmp_path_factory.getbasetemp() / 'tensorflow_datasets'}"]
    command += ["--probe_dataset=action_unit_folder/units", f"--pretrain_flags={SMALL} --max_steps=1"]
    command += ["--emotions=happy"]
    started = {"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **started, start_new_session=True)
    first = workdir / "emoco-seed0" / "encoder.keras"
    kill_when(process, first.exists, kill=lambda: os.killpg(process.pid, signal.SIGKILL))
    written = first.stat().st_mtime_ns
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert first.stat().st_mtime_ns == written, "not trained again"
    assert "emotion_only-seed0: pretraining (" in result.stdout
    assert "emoco-seed0: pretraining" not in result.stdout
    found = json.loads((workdir / "ablation.json").read_text())
    for kind, emotion in (("linear", None), ("linear-happy", "happy")):
        rows = found[kind]
        assert [row["name"] for row in rows] == ["emoco", "emotion_only", "lambda_4", "lambda_4_no_n"]
        for row in rows:
            scores = json.loads((workdir / f"{row['name']}-seed0" / kind / "scores.json").read_text())
            assert row["f1"] == [scores["average"]["f1"]]
            assert scores["emotion"] == emotion
    assert (workdir / "ablation.txt").read_text() in result.stdout
    assert not (workdir / "emotion_only-seed0" / "checkpoints").exists(), "gone when the encoder is there"
    for name in ("fig4.png", "fig5.png"):
        with Image.open(workdir / name) as picture:
            assert np.asarray(picture.convert("L")).std() > 5, "something is drawn"

    result = subprocess.run([*command, "--max_faces=9"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode != 0
    assert "holds results of other settings (max_faces None -> 9)" in result.stderr
