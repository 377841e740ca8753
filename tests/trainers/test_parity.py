"""One numerical behaviour: on each backend, and on one device or many."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).parents[2]
PROGRAM = pathlib.Path(__file__).with_name("ten_steps.py")


@pytest.fixture(scope="module")
def train(tmp_path_factory, process_variables):
    """`train(backend, strategy, devices)`: what ten steps from the same weights on the same batches give."""
    directory = tmp_path_factory.mktemp("parity")
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(160, 16, 16, 3)).astype("float32")
    keys = queries + 0.3 * rng.normal(size=queries.shape).astype("float32")
    # Class 2 is rare, so some batches and most replicas see none of it.
    labels = rng.choice(3, size=160, p=(0.6, 0.36, 0.04))
    np.savez(directory / "batches.npz", queries=queries, keys=keys, labels=labels)

    def run(backend, strategy="none", devices=0, processes=1):
        name = f"{backend}_{strategy}_{devices}_{processes}"
        if not (directory / f"{name}.npz").exists():
            # One alone is no cluster of one: Keras would start a service for it.
            ranks = process_variables(processes) if processes > 1 else [{}]
            started = [
                start(backend, name if i == 0 else f"{name}_{i}", strategy, devices, variables)
                for i, variables in enumerate(ranks)
            ]
            for process in started:
                _, error = process.communicate(timeout=300)
                assert process.returncode == 0, error
        with np.load(directory / f"{name}.npz") as arrays:
            return dict(arrays)

    def start(backend, name, strategy, devices, variables):
        return subprocess.Popen(
            [sys.executable, PROGRAM, directory, name, strategy, str(devices)],
            cwd=ROOT,
            env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT), **variables},
            stderr=subprocess.PIPE,
            text=True,
        )

    run("tensorflow")  # writes the weights that all start from
    return run


def assert_same(one, other, weights):
    assert one.keys() == other.keys()
    np.testing.assert_allclose(one["losses"], other["losses"], rtol=1e-4)
    for name in one.keys() - {"losses", "dictionaries"}:
        np.testing.assert_allclose(one[name], other[name], rtol=weights, atol=weights, err_msg=name)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backends_train_alike(train, backend):
    assert_same(train("tensorflow"), train(backend), weights=1e-3)


@pytest.mark.parametrize(
    ("backend", "strategy"), [("tensorflow", "mirrored"), ("jax", "data_parallel")], ids=["tensorflow", "jax"]
)
@pytest.mark.parametrize("devices", [2, 4])
def test_replicas_train_as_one_device(train, backend, strategy, devices):
    many = train(backend, strategy, devices)
    assert_same(train(backend), many, weights=1e-4)
    assert len(many["dictionaries"]) == devices
    for copy in many["dictionaries"][1:]:
        np.testing.assert_array_equal(copy, many["dictionaries"][0])


def test_two_jax_processes_of_two_devices_train_as_one_device(train):
    many = train("jax", "data_parallel", 2, processes=2)
    assert_same(train("jax"), many, weights=1e-4)
    np.testing.assert_array_equal(*many["dictionaries"])
