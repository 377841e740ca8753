"""Views made by other processes: what arrives is what one process would have made, bit for bit."""

import contextlib
import pathlib
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_emoco import augment
from trainers import faults

ROOT = pathlib.Path(__file__).parents[2]


@contextlib.contextmanager
def serving(port):
    """A host: `python -m trainers.data_service`, asked to end by SIGTERM."""
    command = [sys.executable, "-m", "trainers.data_service", "--host=localhost"]
    process = subprocess.Popen(
        [*command, f"--port={port}", f"--worker_port={port + 1}"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert f"--data_service=localhost:{port}" in process.stdout.readline()
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


@pytest.fixture
def ports():
    """Two ports, each with the next one free too."""
    found = []
    while len(found) < 2:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("", port + 1))
                found.append(port)
    return found


def examples():
    pixels = np.random.default_rng(0).integers(0, 256, (22, 20, 20, 3), np.uint8)
    files = [tf.io.encode_png(picture) for picture in pixels]
    return tf.data.Dataset.from_tensor_slices((files, np.arange(22) % 7))


def batches(count=7, **options):
    made = augment.two_views(examples(), 16, 8, seed=3, shuffle_buffer=22, **options)
    return [tf.nest.flatten(batch) for batch in made.take(count).as_numpy_iterator()]


def assert_equal(ours, theirs):
    assert len(ours) == len(theirs)
    for one, two in zip(ours, theirs, strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)


def test_batches_are_those_of_one_process(ports):
    # 2 steps an epoch: seven cross three ends of an epoch.
    addresses = [f"localhost:{port}" for port in ports]
    with serving(ports[0]), serving(ports[1]):
        assert_equal(batches(data_service=addresses), batches())
        assert_equal(batches(data_service=addresses[:1], first_step=3), batches(first_step=3))
        own = {"num_shards": 2, "shard": 1}
        assert_equal(batches(data_service=addresses, **own), batches(**own))


def test_host_that_was_started_again_is_noticed(ports):
    with serving(ports[0]) as process:
        steps = iter(augment.two_views(examples(), 16, 8, data_service=[f"localhost:{ports[0]}"]))
        next(steps)
        process.kill()
        process.wait()

    def drain():
        for _ in range(200):
            next(steps)

    with serving(ports[0]), pytest.raises(tf.errors.OpError) as caught:
        drain()
    assert "a host of --data_service has ended or was started again" in faults.explain(caught.value)


def test_training_ends_with_the_same_weights(pretrain, one_thread, ports, tmp_path):
    with serving(ports[0]), serving(ports[1]):
        service = f"--data_service=localhost:{ports[0]},localhost:{ports[1]}"
        code, _, error = pretrain(service, "--max_steps=3", f"--workdir={tmp_path / 'two'}", **one_thread)
        assert code == 0, error
    code, _, error = pretrain("--max_steps=3", f"--workdir={tmp_path / 'one'}", **one_thread)
    assert code == 0, error
    one, two = (
        keras.saving.load_model(tmp_path / name / "encoder.keras", compile=False).get_weights()
        for name in ("one", "two")
    )
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_training_does_not_wait_for_a_host_that_is_gone(pretrain, ports, tmp_path):
    with serving(ports[0]) as host:
        flags = (f"--data_service=localhost:{ports[0]}", "--epochs=1000", f"--workdir={tmp_path}")
        process = pretrain(*flags, wait=False)
        deadline = time.monotonic() + 300
        while not list(tmp_path.glob("checkpoints/step_*")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        host.kill()
        _, error = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"error: no data service answers at localhost:{ports[0]}" in error
    assert "the same command goes on from the last checkpoint" in error


@pytest.mark.parametrize(
    ("addresses", "error", "message"),
    [
        (["localhost"], ValueError, r"expected addresses host:port; got 'localhost'"),
        (["localhost:port"], ValueError, r"expected addresses host:port"),
        (["localhost:99999"], ConnectionError, r"no data service answers at localhost:99999"),
        (
            ["localhost:1"],
            ConnectionError,
            r"at localhost:1 .*refused.*start `python -m trainers.data_service",
        ),
        (["localhost:1"] * 2, ValueError, r"localhost:1 is given twice"),
        (["a:1", "b:1", "c:1"], ValueError, r"a batch of 8 does not divide among 3 hosts"),
    ],
)
def test_addresses(addresses, error, message):
    with pytest.raises(error, match=message):
        batches(data_service=addresses)


def test_port_that_is_taken(ports):
    with socket.socket() as taken:
        taken.bind(("", ports[0]))
        taken.listen()
        result = subprocess.run(
            [sys.executable, "-m", "trainers.data_service", f"--port={ports[0]}", "--host=localhost"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
    assert result.returncode == 1
    assert f"error: port {ports[0]}: " in result.stderr
