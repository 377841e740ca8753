"""Any text as the value of a flag: refused with the flag's name before work starts, or in its range."""

import json
import math
import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).with_name("flag_values.py")
POSITIVE = ("temperature", "base_learning_rate", "crop_scale_min")
# In [0, 1), but for the scale of a crop, which may be the whole picture.
SHARES = {"momentum": 1 - 1e-9, "sgd_momentum": 1 - 1e-9, "threshold": 1 - 1e-9, "crop_scale_min": 1.0}
FROM_ZERO = ("seed", "max_steps", "probe_faces", "virtual_devices")
CHOICES = {
    "optimizer": ("sgd", "adamw"),
    "dictionary": ("per_class", "shared"),
    "normalization": ("intra_class", "l2"),
    "key_statistics": ("batch", "moving"),
    "encoder": ("resnet18", "alexnet"),
}


def in_range(name, value):
    """Said here a second time, apart from the programs' own checks."""
    if isinstance(value, float):
        above = value > 0 if name in POSITIVE else value >= 0
        return above and math.isfinite(value) and value <= SHARES.get(name, value)
    if isinstance(value, list):
        return all(0 <= number < 2**31 - 2 for number in value) and len(set(value)) == len(value) > 0
    if isinstance(value, int):
        least = 0 if name in FROM_ZERO else 32 if name == "image_size" else 1
        return isinstance(value, bool) or value >= least
    return name not in CHOICES or value in CHOICES[name]


@pytest.mark.parametrize("program", ["pretrain", "evaluate"])
def test_every_flag_with_every_text(program):
    root = pathlib.Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, str(PROGRAM), program], cwd=root, capture_output=True, text=True, timeout=600
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert len(found) > 200
    for name, text, value, message in found:
        if message:
            assert name in message, (name, text[:40], message)
        elif not (name == "threshold" and text == "train"):
            assert in_range(name, value), (name, text[:40], value)
    # Each flag has texts that it takes.
    assert {name for name, _, _, message in found if not message} == {name for name, *_ in found}
