"""A run killed at random moments and started again ends exactly as one never interrupted: difference 0.

Three kills by default. `EMOCO_KILLS=20 pytest -n0 -s tests/trainers/test_torture.py -k many` kills 20 times
and prints the table; `EMOCO_SEED=1` at other moments.
"""

import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
HERE = pathlib.Path(__file__).parent


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


def assert_same(whole, killed):
    """The same numbers and logs in the newest checkpoints of two runs."""
    (one, history), (two, killed_history) = content(whole), content(killed)
    assert one.keys() == two.keys()
    assert sum("dictionary" in name for name in one) == 2, "queues and pointers"
    assert any("optimizer" in name for name in one)
    assert sum(name.startswith("random_") for name in one) == 2, "of the query's Dropout and the key's"
    differences = {n: float(np.abs(one[n].astype("f8") - two[n].astype("f8")).max(initial=0)) for n in one}
    numbers = sum(a.size for a in one.values())
    print(f"  {len(one)} arrays, {numbers:,} numbers: greatest difference {max(differences.values())}")
    assert not any(differences.values()), {n: d for n, d in differences.items() if d}
    assert history == killed_history


def shards(data_dir):
    """The bytes of each file of a data set that was built whole."""
    paths = (data_dir / "fer2013" / "default" / "1.0.0").glob("*.tfrecord-*")
    return {path.name: path.read_bytes() for path in paths}


KILLS = os.environ.get("EMOCO_KILLS")
MANY = pytest.param(
    KILLS or "20",
    id="many",
    marks=[
        pytest.mark.slow,
        pytest.mark.skipif(not KILLS, reason="takes minutes: EMOCO_KILLS=20 asks for it"),
    ],
)


@pytest.mark.parametrize("kills", [pytest.param("3", id="three"), MANY])
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_torture(backend, kills, manual_dir, one_thread, tmp_path):
    environment = {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [sys.executable, HERE / "torture.py", tmp_path, manual_dir, kills, os.environ.get("EMOCO_SEED", "0")],
        cwd=ROOT,
        env={**os.environ, **one_thread, **environment},
        capture_output=True,
        text=True,
    )
    print(f"\n{backend}\n{done.stdout}", end="")
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "whole", tmp_path / "killed")
    assert not list((tmp_path / "killed").glob("**/*partial*"))
    assert shards(tmp_path / "killed_data") == shards(tmp_path / "data")


@pytest.mark.slow
def test_two_jax_processes_stop_at_one_step_end_when_one_dies_and_go_on_exactly(
    process_variables, manual_dir, one_thread, tmp_path
):
    port = process_variables(2)[0]["KERAS_DISTRIBUTION_JOB_ADDRESSES"].split(":")[1]
    environment = {"KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    done = subprocess.run(
        [sys.executable, HERE / "two_processes.py", tmp_path, manual_dir, port],
        cwd=ROOT,
        env={**os.environ, **one_thread, **environment},
        capture_output=True,
        text=True,
    )
    print(f"\n{done.stdout}", end="")
    assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "whole", tmp_path / "killed")
