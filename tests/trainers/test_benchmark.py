"""The benchmark's contenders compute the same, are timed in turn, and its ratios can be computed again."""

import json
import os
import pathlib
import statistics
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from trainers.benchmark import cases, data, inference, peers, process

ROOT = pathlib.Path(__file__).parents[2]


def benchmark(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "trainers.benchmark", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def quick(directory, part, only, repeats=3):
    done = benchmark(
        part,
        "--quick",
        "--backends=tensorflow",
        f"--only={only}",
        f"--repeats={repeats}",
        f"--output={directory}",
    )
    assert done.returncode == 0, done.stderr
    with Image.open(directory / "benchmark.png") as image:
        image.verify()
    assert not list(directory.glob("*partial*"))
    (comparison,) = json.loads((directory / "benchmark.json").read_text())["comparisons"]
    return comparison["cases"], done.stdout


def test_peers_give_the_loss_of_the_paper():
    # K is no multiple of anything, and the second call meets the keys that the first has put into the queues.
    sizes = {"batch": 9, "classes": 4, "size": 21, "dim": 8}
    arrays = {name: array.astype("float64") for name, array in data.head(**sizes).items()}
    prototypes = arrays["prototypes"] / np.linalg.norm(arrays["prototypes"], axis=1, keepdims=True)
    labels = arrays["labels"].astype(int)

    def n(x, label):
        difference = x - prototypes[label]
        return difference / np.linalg.norm(difference, axis=-1, keepdims=True)

    def loss():
        losses = []
        for q, k, y in zip(arrays["queries"], arrays["keys"], labels, strict=True):
            logits = np.concatenate([n(k, y)[None], n(arrays["queues"][y], y)]) @ n(q, y) / 0.2
            losses.append(np.log(np.exp(logits).sum()) - logits[0])
        return np.mean(losses)

    first = loss()
    filled = [0] * sizes["classes"]
    for k, y in zip(arrays["keys"], labels, strict=True):
        arrays["queues"][y, filled[y]] = k
        filled[y] += 1
    second = loss()
    assert abs(first - second) > 1e-3
    for peer in (peers.plain_head, peers.einsum_head):
        run, _ = peer(**sizes)
        np.testing.assert_allclose([run(), run()], [first, second], rtol=1e-5)


def test_head_contenders_agree_and_are_measured_in_turn(tmp_path):
    cases, table = quick(tmp_path, "head", "^head: ")
    names = [case["name"] for case in cases]
    assert names == [
        "EmoCo, tensorflow",
        "plain formula, PyTorch",
        "masked einsum, PyTorch",
        "float32 product",
    ]
    values = [case["value"] for case in cases[:3]]
    np.testing.assert_allclose(values, values[0], rtol=1e-5)

    samples = sorted((sample["begin"], case["name"]) for case in cases for sample in case["samples"])
    assert [name for _, name in samples] == names * 3
    for case in cases:
        wall = [sample["wall"] for sample in case["samples"]]
        assert min(wall) > 0
        assert case["median"] == pytest.approx(statistics.median(wall))
        assert (case["low"], case["high"]) == (min(wall), max(wall))
        ratios = [w / first["wall"] for w, first in zip(wall, cases[0]["samples"], strict=True)]
        assert case["ratio"] == pytest.approx(statistics.median(ratios))
        assert f"{case['ratio']:.3f}" in table


def test_step_and_input_run_to_the_end(tmp_path):
    cases, _ = quick(tmp_path, "step", "MoCo v2", repeats=1)
    assert [case["work"] for case in cases] == [4, 4, 4]
    assert all(np.isfinite(case["value"]) and case["median"] > 0 for case in cases)
    cases, _ = quick(tmp_path, "step", "parts", repeats=1)
    assert len(cases) == 5
    assert all(case["median"] > 0 for case in cases)
    cases, _ = quick(tmp_path, "input", "to 48", repeats=1)
    assert [case["name"] for case in cases] == [
        "EmoCo, tf.data",
        "torchvision, PIL images",
        "torchvision, tensors",
    ]
    assert all(case["median"] > 0 for case in cases)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="runs on TensorFlow")
def test_exported_formats_give_the_same_features_and_predict_finds_the_faces():
    def value(case):
        assert case.backend == "tensorflow"
        run, work = getattr(inference, case.prepare.removeprefix("inference."))(**case.options)
        assert work == 2
        return run()

    [comparison] = cases.export((), quick=True)
    found = {case.name: value(case) for case in comparison.cases}
    assert len(found) == 6
    int8 = found.pop("LiteRT, int8, one thread")
    expected = found["SavedModel, TensorFlow"]
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-4)
    assert 0 < abs(int8 - expected) < 0.1 * expected, "int8 is another network, and close"
    [comparison] = cases.predict((), quick=True)
    pictures, video, *parts = comparison.cases
    assert len(parts) == 4
    assert (value(pictures), value(video)) == (2, 2), "faces found"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["heads"], "error: no part 'heads': use head, step, input, export, predict or all"),
        (["head", "--backends=numpy"], "no backend 'numpy': use tensorflow, jax, torch"),
        (["head", "--only=nothing"], "--only='nothing' matches no comparison of head"),
    ],
)
def test_unknown_parts_are_refused(arguments, message):
    done = benchmark(*arguments)
    assert done.returncode == 1
    assert message in done.stderr


def test_a_case_that_fails_says_why():
    case = cases.Case("peer", "peers.product", {"side": -1})
    with pytest.raises(RuntimeError, match=r"(?s)peer:\nTraceback.*negative dimension"):
        process.measure((case,), repeats=1, seconds=0.0)
