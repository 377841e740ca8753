"""Runs killed at random moments and started again end exactly as one never interrupted: difference 0.

`-m slow -k torture -s` prints the table of 20 kills.
"""

import os
import signal
import time

import h5py
import numpy as np
import pytest

# Sums in the order of threads that race would differ in their last bits from run to run.
ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "PYTHONUNBUFFERED": "1",
}
STEPS_PER_EPOCH = 4
KILLS = [pytest.param(3, id="3"), pytest.param(20, id="20", marks=pytest.mark.slow)]


def checkpoints(workdir):
    return sorted(workdir.glob("checkpoints/step_*"))


def content(workdir):
    """Every number of the newest checkpoint by its name."""
    arrays = {}
    with h5py.File(checkpoints(workdir)[-1] / "model.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                arrays.update({name: item[()]})
                if isinstance(item, h5py.Dataset) and item.dtype.kind != "O"
                else None
            )
        )
    with np.load(checkpoints(workdir)[-1] / "epoch.npz") as epoch:
        arrays.update(epoch)
    arrays["history"] = (checkpoints(workdir)[-1] / "history.json").read_text()
    return arrays


def kill_at_random(process, workdir, rng, number, epoch_seconds):
    """Kill after some new checkpoints and a part of an epoch; None if the run was faster."""
    before, start = len(checkpoints(workdir)), time.monotonic()
    newest = checkpoints(workdir)[-1:]
    seen, wanted, delay = 0, rng.integers(0, 3), rng.uniform(0, epoch_seconds)
    while seen < wanted and process.poll() is None:
        time.sleep(0.01)
        if checkpoints(workdir)[-1:] != newest:
            newest, seen = checkpoints(workdir)[-1:], seen + 1
    if not seen:
        # Not into the start of the program, where there is nothing to lose: after its first line of training.
        while "trained weights" not in (line := process.stdout.readline()) and line:
            pass
        delay = rng.uniform(0, 6 * epoch_seconds)
    time.sleep(delay)
    # Every third is a notice, which ends inside an epoch.
    process.send_signal(signal.SIGTERM if number % 3 == 1 else signal.SIGKILL)
    return before, time.monotonic() - start


@pytest.mark.parametrize("kills", KILLS)
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_torture(backend, kills, pretrain, tmp_path):
    steps = STEPS_PER_EPOCH * (5 + 2 * kills) + 2
    flags = (f"--epochs={steps}", f"--max_steps={steps}", "--projection_dim=16")
    environment = {**ONE_THREAD, "KERAS_BACKEND": backend}
    code, output, error = pretrain(*flags, f"--workdir={tmp_path / 'whole'}", **environment)
    assert code == 0, error
    epoch_seconds = STEPS_PER_EPOCH * float(output.split("steps in ")[1].split(" s")[0]) / steps

    rng = np.random.default_rng(int(os.environ.get("EMOCO_SEED", "0")))
    killed = tmp_path / "killed"
    print(f"\n{backend}: kill, signal, after s, code, newest checkpoint")
    for number in range(kills):
        process = pretrain(*flags, f"--workdir={killed}", wait=False, **environment)
        _, seconds = kill_at_random(process, killed, rng, number, epoch_seconds)
        _, error = process.communicate(timeout=300)
        newest = int(checkpoints(killed)[-1].name[5:]) if checkpoints(killed) else 0
        name = "SIGTERM" if number % 3 == 1 else "SIGKILL"
        print(f"  {number + 1:2} {name} {seconds:6.1f} {process.returncode:4} {newest:4}")
        assert process.returncode in ((75, -15) if name == "SIGTERM" else (-9,)), error
    code, output, error = pretrain(*flags, f"--workdir={killed}", **environment)
    assert code == 0, error

    one, two = content(tmp_path / "whole"), content(killed)
    assert one.keys() == two.keys()
    assert one.pop("history") == two.pop("history")
    differences = {n: float(np.abs(one[n].astype("f8") - two[n].astype("f8")).max(initial=0)) for n in one}
    numbers = sum(a.size for a in one.values())
    print(f"  {len(one)} arrays, {numbers:,} numbers: difference {max(differences.values())}")
    assert not any(differences.values()), {n: d for n, d in differences.items() if d}
    assert not list(killed.glob("**/*partial*"))
