"""A run killed at random moments and started again ends exactly as one never interrupted: difference 0.

`-s` prints the table of kills; `EMOCO_KILLS=20` kills 20 times, `EMOCO_SEED=1` at other moments.
"""

import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = pathlib.Path(__file__).with_name("torture.py")


def content(workdir):
    """Every number of the newest checkpoint by its name, and the logs as text."""
    path = sorted(workdir.glob("checkpoints/step_*"))[-1]
    arrays = {"step": np.array(int(path.name[5:]))}

    def visit(name, item):
        if isinstance(item, h5py.Dataset) and item.dtype.kind != "O":
            arrays[name] = item[()]

    with h5py.File(path / "model.weights.h5") as file:
        file.visititems(visit)
    with np.load(path / "epoch.npz") as epoch:
        arrays.update(epoch)
    return arrays, (path / "history.json").read_text()


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_torture(backend, manual_dir, one_thread, tmp_path):
    kills = os.environ.get("EMOCO_KILLS", "3")
    done = subprocess.run(
        [sys.executable, PROGRAM, tmp_path, manual_dir, kills, os.environ.get("EMOCO_SEED", "0")],
        cwd=ROOT,
        env={
            **os.environ,
            **one_thread,
            "KERAS_BACKEND": backend,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        },
        capture_output=True,
        text=True,
    )
    print(f"\n{backend}\n{done.stdout}", end="")
    assert done.returncode == 0, done.stderr
    (one, history), (two, killed_history) = content(tmp_path / "whole"), content(tmp_path / "killed")
    assert one.keys() == two.keys()
    assert sum("dictionary" in name for name in one) == 2, "queues and pointers"
    assert any("optimizer" in name for name in one)
    differences = {n: float(np.abs(one[n].astype("f8") - two[n].astype("f8")).max(initial=0)) for n in one}
    numbers = sum(a.size for a in one.values())
    print(f"  {len(one)} arrays, {numbers:,} numbers: greatest difference {max(differences.values())}")
    assert not any(differences.values()), {n: d for n, d in differences.items() if d}
    assert history == killed_history
    assert not list((tmp_path / "killed").glob("**/*partial*"))
