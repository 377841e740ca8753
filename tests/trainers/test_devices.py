"""Training on several devices and in several processes, as a user starts it."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np

FLAGS = ("--epochs=2", "--optimizer=sgd", "--base_learning_rate=0.001")


def losses(workdir, step=8):
    history = json.loads((workdir / f"checkpoints/step_{step:09d}/history.json").read_text())
    return [epoch["loss"] for epoch in history]


def test_two_jax_processes_of_two_devices_train_as_one_device_does(pretrain, process_variables, tmp_path):
    code, _, error = pretrain(*FLAGS, f"--workdir={tmp_path / 'one'}", KERAS_BACKEND="jax")
    assert code == 0, error

    flags = (*FLAGS, f"--workdir={tmp_path / 'four'}", "--strategy=data_parallel", "--virtual_devices=2")
    processes = [
        pretrain(*flags, wait=False, KERAS_BACKEND="jax", **variables) for variables in process_variables(2)
    ]
    outputs = [process.communicate(timeout=600) for process in processes]
    for process, (_, error) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, error
    assert "trained 8 steps" in outputs[0][0]
    assert "trained" not in outputs[1][0], "the first process alone reports"
    assert (tmp_path / "four" / "summary.png").exists()
    # Exact parity is `test_parity.py`'s: BatchNorm over 28 noise pictures magnifies rounding here.
    np.testing.assert_allclose(losses(tmp_path / "four"), losses(tmp_path / "one"), rtol=2e-2)


def test_checkpoint_goes_on_under_another_backend_and_strategy(pretrain, tmp_path):
    flags = (*FLAGS, "--epochs=3", f"--workdir={tmp_path / 'moved'}")
    for more, backend in (
        (("--max_steps=4", "--strategy=mirrored", "--virtual_devices=2"), "tensorflow"),
        (("--max_steps=8",), "jax"),
        ((), "torch"),
    ):
        code, output, error = pretrain(*flags, *more, KERAS_BACKEND=backend)
        assert code == 0, error
        assert "trained 4 steps" in output
    code, _, error = pretrain(*FLAGS, "--epochs=3", f"--workdir={tmp_path / 'whole'}")
    assert code == 0, error
    np.testing.assert_allclose(losses(tmp_path / "moved", 12), losses(tmp_path / "whole", 12), rtol=2e-2)


def test_virtual_devices_compile_no_convolution_that_xla_has_slow_loops_for():
    code = """if True:
        import sys
        from trainers import strategies
        if "plain" not in sys.argv:
            strategies.create("data_parallel", virtual_devices=2)
        import jax, jax.numpy as jnp
        def convolve(images, kernel):
            form = ("NHWC", "HWIO", "NHWC")
            return jax.lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=form)
        lowered = jax.jit(convolve).lower(jnp.ones((8, 2, 2, 16)), jnp.ones((3, 3, 16, 16)))
        print("reversed" if "rhs_reversal" in lowered.compile().as_text() else "as given")
    """
    environment = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"KERAS_BACKEND": "jax"}
    said = [
        subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=pathlib.Path(__file__).parents[2],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[-1]
        for arguments in ((), ("plain",))
    ]
    # The second shows that the first could have been otherwise.
    assert said == ["given", "reversed"]


def test_tpu_that_does_not_answer(pretrain, tmp_path):
    code, _, error = pretrain("--strategy=tpu", f"--workdir={tmp_path}")
    assert code != 0
    assert "error: no TPU answers at --tpu=local (" in error
    assert "Traceback" not in error
