"""One run in a work directory, and what may change when it goes on."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from trainers import workdir

ROOT = pathlib.Path(__file__).parents[2]
HOLD = (
    "import pathlib, sys; from trainers import workdir; workdir.open_workdir(pathlib.Path(sys.argv[1]), {}); "
)


def test_second_run_is_refused_until_the_first_is_dead(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD + "print('held', flush=True); sys.stdin.read()", tmp_path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(ValueError, match=rf"--workdir={tmp_path} is in use by process {process.pid} on "):
        workdir.open_workdir(tmp_path, {})
    process.send_signal(signal.SIGKILL)
    process.communicate()
    workdir.open_workdir(tmp_path, {})
    workdir.open_workdir(tmp_path, {})  # this process holds it
    assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} on ")


def test_what_may_grow_is_recorded_and_the_rest_refused(tmp_path):
    assert workdir.open_workdir(tmp_path, {"epochs": 2, "seed": 0}, may_grow=("epochs",)) == {}
    assert workdir.open_workdir(tmp_path, {"epochs": 4, "seed": 0}, may_grow=("epochs",)) == {"epochs": 2}
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["settings"] == {"epochs": 4, "seed": 0}
    assert [entry["before"] for entry in config["grown"]] == [{"epochs": 2}]
    for settings, message in (
        ({"epochs": 3, "seed": 0}, r"\(epochs 4 -> 3; of these epochs may grow\)"),
        ({"epochs": 5, "seed": 1}, r"\(epochs 4 -> 5, seed 0 -> 1; of these epochs may grow\)"),
        ({"epochs": 4, "seed": 1}, r"\(seed 0 -> 1\)"),
        ({"epochs": 4}, r"\(seed 0 -> None\)"),
    ):
        with pytest.raises(ValueError, match=message):
            workdir.open_workdir(tmp_path, settings, may_grow=("epochs",))
    assert json.loads((tmp_path / "config.json").read_text()) == config


def test_full_disk_names_the_file_and_leaves_the_one_before(small_disk, fill):
    text, arrays = small_disk / "file.txt", small_disk / "file.npz"
    workdir.write_text(text, "before")
    workdir.write_arrays(arrays, x=np.arange(3))
    fill(small_disk, 4)
    for path, write in (
        (text, lambda: workdir.write_text(text, "x" * 9000)),
        (arrays, lambda: workdir.write_arrays(arrays, x=np.ones(9000))),
    ):
        with pytest.raises(OSError, match=rf"cannot write {path} \(No space left .*make room"):
            write()
    assert sorted(path.name for path in small_disk.iterdir()) == ["file.npz", "file.txt", "filler"]
    assert text.read_text() == "before"
    np.testing.assert_array_equal(workdir.read_arrays(arrays)["x"], [0, 1, 2])


def test_read_only_file_system_is_named(small_disk):
    (small_disk / "began").mkdir()
    for name in ("lock", "config.json"):
        (small_disk / "began" / name).write_text("{}")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for name in ("began", "new"):
        with pytest.raises(OSError, match=rf"cannot write to --workdir={small_disk / name} \(.*Read-only"):
            workdir.open_workdir(small_disk / name, {})
    assert [path.name for path in small_disk.iterdir()] == ["began"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"settings": 3}', "\x00"])
def test_damaged_configuration_is_named(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=rf"{tmp_path}/config.json is damaged .*put a copy back"):
        workdir.open_workdir(tmp_path, {})


def test_failed_writing_leaves_the_file_and_no_litter(tmp_path):
    workdir.write_text(tmp_path / "file.txt", "before")
    with pytest.raises(UnicodeEncodeError):
        workdir.write_text(tmp_path / "file.txt", "\ud800")
    assert [p.name for p in tmp_path.iterdir()] == ["file.txt"]
    assert (tmp_path / "file.txt").read_text() == "before"
