"""The directory of an evaluation: its configuration, and files that are there whole or not at all.

No pickle: arrays are `.npz`, the rest is text.
"""

import json
import os
import pathlib
import platform
import sys

import keras
import numpy as np
import sklearn

import keras_emoco


def open_workdir(workdir: pathlib.Path, settings: dict) -> None:
    """Make the directory and write `config.json` into it, or find the same settings there and go on.

    Args:
        workdir: the directory.
        settings: what the results depend on, as JSON can hold it.

    Raises:
        ValueError: the directory holds results of other settings.
        OSError: it cannot be written.
    """
    file = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_text(workdir / "write_test", "")
        (workdir / "write_test").unlink()
    except OSError as error:
        raise OSError(f"cannot write to --workdir={workdir} ({error}): choose another directory") from error
    if file.exists():
        before = json.loads(file.read_text())["settings"]
        names = sorted({*before, *settings})
        different = [name for name in names if before.get(name) != settings.get(name)]
        if different:
            changes = ", ".join(f"{name} {before.get(name)} -> {settings.get(name)}" for name in different)
            raise ValueError(
                f"--workdir={workdir} holds results of other settings ({changes}): give another directory"
            )
        return
    versions = {module.__name__: module.__version__ for module in (keras, keras_emoco, np, sklearn)}
    versions.update(python=platform.python_version(), backend=keras.backend.backend())
    content = {"command": sys.argv, "settings": settings, "versions": versions}
    write_text(file, json.dumps(content, indent=1))


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a file under another name and move it: a reader never sees half of it."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    os.replace(partial, path)


def write_arrays(path: pathlib.Path, **arrays: np.ndarray) -> None:
    """Write an `.npz`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial.npz")
    np.savez(partial, allow_pickle=False, **arrays)
    os.replace(partial, path)


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)
