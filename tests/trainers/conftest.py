"""Made-up data sets in the layout of their owners, small enough for a run in seconds."""

import contextlib
import csv
import io
import os
import pathlib
import socket
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[2]
EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def _jpeg(rng, label, size):
    """Noise with a bright bar whose place tells the label."""
    pixels = rng.integers(0, 90, (size, size), dtype=np.uint8)
    width = size // 8
    pixels[:, label * width : (label + 1) * width] += 150
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture(scope="session")
def manual_dir(tmp_path_factory):
    """A manual directory with a FER2013 archive of 112 + 14 faces and 36 faces with action units."""
    directory = tmp_path_factory.mktemp("manual")
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(directory / "fer2013.zip", "w") as archive:
        for label, emotion in enumerate(EMOTIONS):
            for i in range(16):
                archive.writestr(f"train/{emotion}/Training_{label}{i}.jpg", _jpeg(rng, label, 48))
            for i in range(2):
                usage = ("PublicTest", "PrivateTest")[i]
                archive.writestr(f"test/{emotion}/{usage}_{label}{i}.jpg", _jpeg(rng, label, 48))
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["file", "subject", "emotion", "AU1", "AU12"])
    with zipfile.ZipFile(directory / "units.zip", "w") as archive:
        for i in range(36):
            units = (i % 2, (i // 2) % 2)
            rows.writerow([f"{i}.jpg", f"person{i % 6}", ("sad", "happy")[units[1]], *units])
            archive.writestr(f"units/images/{i}.jpg", _jpeg(rng, 2 * units[0] + units[1], 64))
        archive.writestr("units/au.csv", table.getvalue())
    return directory


@pytest.fixture
def pretrain(manual_dir, tmp_path_factory):
    """`pretrain(*flags, wait=True)` runs `python -m trainers.pretrain` on the made-up FER2013."""
    data_dir = tmp_path_factory.getbasetemp() / "tensorflow_datasets"

    def run(*flags, wait=True, **environment):
        command = [sys.executable, "-m", "trainers.pretrain", f"--manual_dir={manual_dir}"]
        command += [f"--data_dir={data_dir}", "--dataset=fer2013", "--encoder=resnet18", "--image_size=32"]
        command += ["--batch_size=28", "--queue_size=64", "--hidden_dim=32", *flags]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        if not wait:
            return process
        output, error = process.communicate(timeout=600)
        return process.returncode, output, error

    return run


@pytest.fixture(scope="session")
def touch():
    """`touch(root, *names)` makes files of one byte below a folder, with their folders."""

    def make(root, *names):
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")

    return make


@pytest.fixture(scope="session")
def one_thread():
    """Variables of a process whose sums have one order: threads that race differ in the last bits.

    Through BatchNorm of 28 faces such a difference grows past any tolerance in 16 steps.
    """
    return {
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    }


@pytest.fixture(scope="session")
def process_variables():
    """`process_variables(n)`: for each of n JAX processes of this machine the variables that Keras reads."""

    def choose(processes):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        return [
            {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": address,
                "KERAS_DISTRIBUTION_NUM_PROCESSES": str(processes),
                "KERAS_DISTRIBUTION_PROCESS_ID": str(number),
            }
            for number in range(processes)
        ]

    return choose


@pytest.fixture
def kill_when():
    """`kill_when(process, happened)` kills a running program by SIGKILL as soon as `happened()` is true."""

    def run(process, happened, kill=None):
        deadline = time.monotonic() + 300
        while not happened():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (kill or process.kill)()
        process.communicate()

    return run


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 2 MiB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounts a tmpfs, which root alone may")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.fixture(scope="session")
def fill():
    """`fill(disk, left)` leaves so many KiB, by a file `filler`; None leaves all of it."""

    def run(disk, left):
        (disk / "filler").unlink(missing_ok=True)
        if left is None:
            return
        with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(4096))
        os.truncate(disk / "filler", (disk / "filler").stat().st_size - 1024 * left)

    return run
