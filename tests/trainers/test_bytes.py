"""What replicas send each other in a step, read from the compiled program."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).parents[2]
BATCH, DIM = 16, 16
QUEUES = 3 * 10 * DIM
COLLECTIVE = re.compile(r"= (.+?) (all-reduce|all-gather|collective-permute|all-to-all|reduce-scatter)\(")


def numbers(shapes: str) -> int:
    """How many numbers there are in `(f32[8,3]{1,0}, s32[16]{0})`."""
    sizes = re.findall(r"[a-z]+\d+\[([\d,]*)\]", shapes)
    return sum(int(np.prod([int(n) for n in size.split(",") if n])) for size in sizes)


def test_replicas_exchange_gradients_statistics_and_keys_and_no_dictionary(tmp_path):
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(2, BATCH, 16, 16, 3)).astype("float32")
    np.savez(tmp_path / "batches.npz", queries=queries, keys=keys, labels=rng.integers(0, 3, BATCH))
    subprocess.run(
        [sys.executable, ROOT / "tests/trainers/ten_steps.py", tmp_path, "run", "data_parallel", "2"],
        cwd=ROOT,
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": f"--xla_dump_to={tmp_path / 'xla'} --xla_dump_hlo_as_text",
        },
        check=True,
        timeout=300,
    )
    (program,) = (tmp_path / "xla").glob("*train_step*after_optimizations.txt")
    sent = [numbers(match[1]) for match in COLLECTIVE.finditer(program.read_text())]

    with np.load(tmp_path / "run.npz") as arrays:
        trained = int(arrays["trained"])
    # 300 is room for BatchNorm's statistics and the metrics, and too little for the dictionary.
    assert QUEUES > 300
    assert trained <= sum(sent) <= trained + BATCH * (DIM + 1) + 300, sorted(sent)
