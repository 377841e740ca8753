"""The directory of a run: its lock, its configuration, and files that are there whole or not at all.

No pickle: arrays are `.npz`, the rest is text.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import pathlib
import platform
import sys

import keras
import numpy as np
import sklearn

import keras_emoco

# Open files whose lock is held, by path: the system gives a lock back when its process dies.
_locks = {}


class DamagedError(ValueError):
    """A file that a program wrote and that is no longer what it wrote."""


def open_workdir(workdir: pathlib.Path, settings: dict, may_grow: tuple[str, ...] = ()) -> dict:
    """Make the directory, keep other runs out, and write `config.json` or find the same settings there.

    Args:
        workdir: the directory.
        settings: what the results depend on, as JSON can hold it.
        may_grow: names of settings that may be larger than before; the change is recorded.

    Returns:
        `{name: value before}` of the settings that grew.

    Raises:
        ValueError: the directory holds results of other settings, or another run is at work in it.
        OSError: it cannot be written.
    """
    file = workdir / "config.json"
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        _lock(workdir)
        write_text(workdir / "write_test", "")
        (workdir / "write_test").unlink()
    except OSError as error:
        raise OSError(f"cannot write to --workdir={workdir} ({error}): choose another directory") from error
    if not file.exists():
        versions = {module.__name__: module.__version__ for module in (keras, keras_emoco, np, sklearn)}
        versions.update(python=platform.python_version(), backend=keras.backend.backend())
        content = {"command": sys.argv, "settings": settings, "versions": versions}
        write_text(file, json.dumps(content, indent=1))
        return {}
    content = read_config(file)
    before = content["settings"]
    different = [name for name in sorted({*before, *settings}) if before.get(name) != settings.get(name)]
    if any(name not in may_grow or not _grows(before.get(name), settings.get(name)) for name in different):
        changes = ", ".join(f"{name} {before.get(name)} -> {settings.get(name)}" for name in different)
        grow = f"; of these {', '.join(may_grow)} may grow" if set(may_grow) & set(different) else ""
        raise ValueError(
            f"--workdir={workdir} holds results of other settings ({changes}{grow}): give another directory"
        )
    grown = {name: before[name] for name in different}
    if grown:
        content["settings"] = settings
        content["grown"].append({"before": grown, "command": sys.argv})
        write_text(file, json.dumps(content, indent=1))
    return grown


def _grows(before, after):
    return isinstance(before, (int, float)) and isinstance(after, (int, float)) and after > before


def _lock(workdir):
    """Hold `lock` until this process dies, however it dies.

    Raises:
        ValueError: another process holds it.
    """
    path = workdir.resolve() / "lock"
    if path in _locks:
        return
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read(200).strip() or "another process"
        file.close()
        raise ValueError(
            f"--workdir={workdir} is in use by {holder}: let it end, stop it, or give another directory"
        ) from error
    file.truncate(0)
    file.write(f"process {os.getpid()} on {platform.node()}\n")
    file.flush()
    _locks[path] = file


def read_config(file: pathlib.Path) -> dict:
    """`config.json` of a run: `settings`; and `command`, `versions`, and `grown` where settings grew.

    Raises:
        DamagedError: it holds something else.
    """
    others = {"command": [], "versions": {}, "grown": []}
    content = {**others, **read_json(file, {"settings": dict})}
    for name, nothing in others.items():
        if not isinstance(content[name], type(nothing)):
            raise DamagedError(
                f"{file} is damaged ({name} is no {type(nothing).__name__}): put a copy back, or give "
                "another --workdir"
            )
    return content


def read_json(file: pathlib.Path, kinds: dict[str, type]) -> dict:
    """The table in a file of JSON.

    Args:
        file: that a program wrote.
        kinds: for names that must be in it, what their values are.

    Raises:
        DamagedError: it holds no table, or one without these.
    """
    try:
        content = json.loads(file.read_text())
        for name, kind in kinds.items():
            if not isinstance(content[name], kind):
                raise TypeError(f"{name} is no {kind.__name__}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(
            f"{file} is damaged ({type(error).__name__}: {error}): put a copy back, or give another --workdir"
        ) from error
    return content


@contextlib.contextmanager
def replaced(path: pathlib.Path, tag: str = ""):
    """Yield another name to write to; moved to `path` when whole, removed when writing failed.

    Args:
        path: the file; a reader sees what was there before, or all of the new.
        tag: what tells the writers of one file apart, where nothing keeps others out.

    Raises:
        OSError: the disk is full.
    """
    partial = path.with_name(f"{path.stem}{tag}.partial{path.suffix}")
    try:
        yield partial
        flush(partial)
        os.replace(partial, path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        # The system's error of a full disk names no file.
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise OSError(
                f"cannot write {path} ({error.strerror}): make room, and give the same command again"
            ) from error
        raise


def flush(path: pathlib.Path) -> None:
    """Have a file or directory on the disk before going on: a machine may lose power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: pathlib.Path) -> str:
    """The checksum of a file, as the command sha256sum prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(arrays: list[np.ndarray]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of arrays of one type, in their order."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def write_text(path: pathlib.Path, text: str) -> None:
    """Write a file, whole or not at all."""
    with replaced(path) as partial:
        partial.write_text(text)


def write_arrays(path: pathlib.Path, **arrays: np.ndarray) -> None:
    """Write an `.npz`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path, f".{os.getpid()}") as partial:
        np.savez(partial, allow_pickle=False, **arrays)


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote.

    Raises:
        FileNotFoundError: it is not there.
        DamagedError: it is no whole `.npz`.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            found = dict(arrays)
            # NumPy gives the bytes of a member that is no `.npy`.
            if not all(isinstance(array, np.ndarray) for array in found.values()):
                raise TypeError(f"not all of {', '.join(found)} are arrays")
            return found
    except FileNotFoundError:
        raise
    # The readers of zip and of npy raise a dozen kinds of errors; the remedy is the same.
    except Exception as error:
        raise DamagedError(
            f"{path} is damaged ({type(error).__name__}: {error}): remove it, and the program that wrote it "
            "makes it again"
        ) from error
