"""The library's tests again under JAX and under PyTorch: a backend is chosen once for a process."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import keras
import pytest

ROOT = pathlib.Path(__file__).parents[1]
# What depends on the backend: not the tf.data pipelines, which run on TensorFlow under all three.
FILES = (
    "test_au_detector.py",
    "test_emoco.py",
    "test_encoders.py",
    "test_losses.py",
    "test_metrics.py",
    "test_multi_queue_dictionary.py",
    "test_optimizers.py",
    "test_soundness.py",
)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="started by the TensorFlow run alone")
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_library_under(backend):
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", *(f"tests/keras_emoco/{file}" for file in FILES)],
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-8000:]
    assert " passed" in result.stdout


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_import_leaves_the_gpus_to_the_backend(backend):
    code = (
        "import keras_emoco, tensorflow as tf; from tensorflow.python.eager import context;"
        "assert not context.context()._initialized, 'TensorFlow has started';"
        "assert not tf.config.get_visible_devices('GPU')"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "KERAS_BACKEND": backend}, check=True
    )


def test_jax_on_a_cpu_has_its_fast_convolutions():
    # A map smaller than its kernel: XLA would exchange them, and reverse what is the kernel then.
    code = (
        "import keras_emoco, jax, jax.numpy as jnp;"
        "conv = lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), 'SAME',"
        " dimension_numbers=('NHWC', 'HWIO', 'NHWC'));"
        "text = jax.jit(conv).lower(jnp.ones((4, 2, 2, 8)), jnp.ones((3, 3, 8, 8))).compile().as_text();"
        "assert 'rhs_reversal' not in text, text"
    )
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "KERAS_BACKEND": "jax"}, check=True
    )


@pytest.mark.parametrize("command", [["check"], ["format", "--check"]])
def test_code_is_clean(command):
    result = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout


@pytest.mark.skipif(
    not importlib.util.find_spec("triton"), reason="PyTorch's build for the CPU is without triton"
)
@pytest.mark.parametrize("package", ["keras_emoco", "trainers.pretrain", "trainers.export"])
def test_compiler_of_pytorch_is_loaded_before_tensorflow(package):
    # The other order ends the process by a signal, in torch.compile or where torchvision is imported.
    code = f"import {package}, tensorflow; from triton._C import libtriton; import torch._dynamo"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
