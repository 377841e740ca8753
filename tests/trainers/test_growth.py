"""2,000 steps: memory, open files and threads do not grow, and replicas hold the same bits."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).with_name("long_run.py")
STEPS = 2000
# From step 500 to 2,000. A batch of two views forgotten at each step would be 18 MB.
TOLERANCE = 12e6  # bytes
# Under MirroredStrategy TensorFlow keeps some 10 kB of each step, and 1 kB of a plain Keras model's with four
# variables: docs/reliability.md.
MIRRORED_TOLERANCE = 40e6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("backend", "strategy"),
    [
        ("tensorflow", "none"),
        ("tensorflow", "mirrored"),
        ("jax", "data_parallel"),
        pytest.param("torch", "none", marks=pytest.mark.slow),
    ],
)
def test_nothing_grows_and_replicas_agree(backend, strategy):
    environment = {**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    result = subprocess.run(
        [sys.executable, str(PROGRAM), str(STEPS), strategy],
        env=environment, cwd=pathlib.Path(__file__).parents[2], capture_output=True, text=True, timeout=800,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    print(backend, found)
    first, last = found["notes"]
    assert (first["step"], last["step"]) == (STEPS // 4, STEPS)
    tolerance = MIRRORED_TOLERANCE if strategy == "mirrored" else TOLERANCE
    assert last["memory"] - first["memory"] < tolerance
    assert last["files"] <= first["files"]
    # TensorFlow's pools start some of theirs late.
    assert last["threads"] < first["threads"] + 20
    assert found["different"] == 0
    assert found["copies"] == (1 if strategy == "none" else 2)
