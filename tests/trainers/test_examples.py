"""The examples run as their first lines say. That in plain TensorFlow is in `test_export.py`."""

import importlib.util
import os
import pathlib
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_emoco

ROOT = pathlib.Path(__file__).parents[2]


# torchvision also where its compiled operators do not fit the PyTorch beside it.
WITH_TORCHVISION = """
import runpy, sys
from trainers.benchmark import peers
peers.torchvision()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(name, *arguments, start=()):
    finished = subprocess.run(
        [sys.executable, *start, ROOT / "examples" / name, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


def test_emoco_on_own_folder(manual_dir, tmp_path):
    with zipfile.ZipFile(manual_dir / "fer2013.zip") as archive:
        archive.extractall(tmp_path)
    output = tmp_path / "encoder.keras"
    text = run(
        "emoco_on_own_folder.py",
        tmp_path / "train",
        f"--output={output}",
        "--image_size=32",
        "--batch_size=28",
        "--queue_size=64",
        "--epochs=2",
    )
    assert text.startswith("112 faces: angry, disgust, fear, happy, neutral, sad, surprise\n")
    lines = [line for line in text.splitlines() if "emotion_loss" in line]
    losses = [float(line.split("emotion_loss: ")[1].split()[0]) for line in lines]
    assert len(losses) == 2
    assert losses[-1] < losses[0]
    encoder = keras.saving.load_model(output, compile=False)
    assert (encoder.input_shape, encoder.output_shape) == ((None, 32, 32, 3), (None, 512))


def test_encoder_in_pytorch(tmp_path):
    if not all(map(importlib.util.find_spec, ("torch", "torchvision"))):
        pytest.skip("needs torch and torchvision")
    keras.utils.set_random_seed(0)
    encoder = keras_emoco.encoders.build("resnet18", 64)
    keras_emoco.weights.save(encoder, tmp_path / "encoder.safetensors")
    rng = np.random.default_rng(0)
    files = [tmp_path / "1.png", tmp_path / "2.png"]
    for file in files:
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(file)
    arguments = (tmp_path / "encoder.safetensors", "resnet18", 64, *files)
    text = run("encoder_in_pytorch.py", *arguments, start=("-c", WITH_TORCHVISION))
    views = [keras_emoco.augment.center_view(file.read_bytes(), 64, crop=False).numpy() for file in files]
    features = encoder.predict(np.stack(views), verbose=0)
    for line, file, row in zip(text.splitlines(), files, features, strict=True):
        assert line.startswith(f"{file} ")
        assert line.endswith("... 512 features")
        np.testing.assert_allclose([float(x) for x in line.split()[1:9]], row[:8], atol=2e-4)
