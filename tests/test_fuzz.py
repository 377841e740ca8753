"""Damaged files: each reader of the project ends in an error of ours that names the file, or reads it.

`EMOCO_FUZZ=5000` tries so many of each; the default takes seconds. `tests/fuzz/program.py` says what counts
as a finding; `python tests/fuzz/program.py data 5000` prints the table of one group.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

PROGRAM = pathlib.Path(__file__).with_name("fuzz") / "program.py"
MUTATIONS = os.environ.get("EMOCO_FUZZ", "20")


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and reads /proc")
@pytest.mark.parametrize("group", ["data", "program"])
def test_readers(group):
    for package in ("cv2", "torch"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    result = subprocess.run(
        [sys.executable, str(PROGRAM), group, MUTATIONS],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        cwd=PROGRAM.parents[2],
        capture_output=True,
        text=True,
        timeout=800 if MUTATIONS == "20" else None,
    )
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
