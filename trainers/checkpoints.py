"""Checkpoints of a run: written whole or not at all, checked when read, so that a run goes on exactly.

A checkpoint is a directory `step_<steps done>` of three files and their `SHA256SUMS`, as sha256sum has it:
`model.weights.h5` (weights, dictionary, optimiser), `history.json` (the logs of each whole epoch) and
`epoch.npz` (the sums behind the logs of an epoch that is not whole, and where random layers are).
"""

import contextlib
import json
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import keras
import numpy as np

from keras_emoco import backend
from trainers import workdir

FILES = ("epoch.npz", "history.json", "model.weights.h5")
SUMS = "SHA256SUMS"


class Stopped(Exception):
    """Training stopped after a step because it was asked to, and a checkpoint holds all of it."""


class Checkpoints(keras.callbacks.Callback):
    """Writes a checkpoint at the end of each epoch and when asked to stop; stops on a NaN loss.

    Args:
        directory: where they go.
        steps_per_epoch: steps in a whole epoch. One that `fit` begins or ends inside has its logs whole, too.
        keep: how many of the newest are kept.
        writes: False in all processes but the first of several that train together.
        stop: asked after each step whether to write a checkpoint and stop.

    Raises:
        FloatingPointError: in training, when the loss is not finite.
        OSError: in training, when a checkpoint cannot be written; those before it stay.
        Stopped: in training, when `stop` said so.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        steps_per_epoch: int,
        keep: int = 2,
        writes: bool = True,
        stop: Callable[[], bool] = lambda: False,
    ):
        super().__init__()
        self.directory, self.steps_per_epoch, self.keep = directory, steps_per_epoch, keep
        self.writes, self.stop, self.stopping = writes, stop, False
        self.history: list[dict] = []
        self.sums: list[np.ndarray] | None = None
        self.random_state: list[np.ndarray] | None = None

    def restore(self, model, path: pathlib.Path | None) -> int:
        """Put a checkpoint that `newest_whole` found, or none, into a compiled model.

        Returns:
            The steps that it had done.

        Raises:
            ValueError: it is of other data.
        """
        if path is None:
            return 0
        step = int(path.name.removeprefix("step_"))
        epoch = workdir.read_arrays(path / "epoch.npz")
        if epoch["steps_per_epoch"] != self.steps_per_epoch:
            raise ValueError(
                f"{path} has {epoch['steps_per_epoch']} steps in an epoch and the data now gives "
                f"{self.steps_per_epoch}: the data has changed; give another --workdir, or the data of before"
            )
        self.history = json.loads((path / "history.json").read_text())
        if step % self.steps_per_epoch:
            self.sums = [epoch[f"sum_{i}"] for i in range(len(model.metrics_variables))]
        for i, variable in enumerate(_random_states(model)):
            variable.assign(epoch[f"random_{i}"])
        # Empty where another backend wrote it.
        self.random_state = [epoch[name] for name in sorted(epoch) if name.startswith("generator_")]
        model.optimizer.build(model.trainable_variables)
        model.load_weights(path / "model.weights.h5")
        return step

    def on_epoch_begin(self, epoch, logs=None):
        # `fit` has just set the sums to zero.
        for variable, value in zip(self.model.metrics_variables, self.sums or (), strict=bool(self.sums)):
            variable.assign(value)
        self.sums = None

    def on_train_batch_begin(self, batch, logs=None):
        # Each call of `fit` draws a number before its first step, for PyTorch's loader of data.
        if self.random_state is not None:
            backend.set_random_state(self.random_state)
        self.random_state = None

    def on_train_end(self, logs=None):
        self.random_state = backend.random_state()

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))
        if loss - loss != 0.0:  # NaN and both infinities
            step = self._steps_done()
            last = self._paths()[-1:] or ["none was written yet"]
            raise FloatingPointError(
                f"the loss is {loss} at step {step}: training stopped. Last good checkpoint: {last[0]}. "
                "Lower --base_learning_rate, raise --temperature, or look for broken images in the data"
            )
        self.stopping = self.stopping or self.stop()
        # At the end of an epoch its logs come first.
        if self.stopping and self._steps_done() % self.steps_per_epoch:
            self._write_and_stop()

    def on_epoch_end(self, epoch, logs=None):
        if self._steps_done() % self.steps_per_epoch == 0:
            self.history.append({name: float(value) for name, value in (logs or {}).items()})
        if self.stopping:
            self._write_and_stop()
        self._write()

    def _write_and_stop(self):
        step = self._write()
        raise Stopped(f"stopped after step {step}, as asked: the same command goes on from there")

    def _write(self):
        step = self._steps_done()
        sums = _arrays("sum", self.model.metrics_variables)
        random = _arrays("random", _random_states(self.model))
        random |= {f"generator_{i:03}": state for i, state in enumerate(backend.random_state())}
        if not self.writes:
            # Reading a variable that processes share is work for all of them, or the writer waits for ever.
            with tempfile.TemporaryDirectory() as unused:
                self.model.save_weights(pathlib.Path(unused) / "model.weights.h5")
            return step
        final = self.directory / f"step_{step:09d}"
        partial = self.directory / f"partial_{step:09d}"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            _reserve(partial / "reserved", [*self.model.variables, *self.model.optimizer.variables])
            self.model.save_weights(partial / "model.weights.h5")
            workdir.write_arrays(
                partial / "epoch.npz", steps_per_epoch=self.steps_per_epoch, **sums, **random
            )
            workdir.write_text(partial / "history.json", json.dumps(self.history, indent=1))
            _write_sums(partial)
            shutil.rmtree(final, ignore_errors=True)
            partial.rename(final)
            workdir.flush(self.directory)
        # What HDF5 raises on a full disk is either.
        except (OSError, RuntimeError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            last = self._paths()[-1:] or ["none was written yet"]
            raise OSError(
                f"cannot write the checkpoint of step {step} in {self.directory} ({_reason(error)}). Last "
                f"good checkpoint: {last[0]}. Make room, and the same command goes on from there"
            ) from error
        # Half-written ones are of runs that were killed: while this one lives there is no other.
        for old in [*self._paths()[: -self.keep], *self.directory.glob("partial_*")]:
            shutil.rmtree(old, ignore_errors=True)
        return step

    def newest_whole(self) -> pathlib.Path | None:
        """The newest checkpoint that is not damaged, None if there is none; damaged ones are set aside.

        Raises:
            ValueError: there are checkpoints and all are damaged.
        """
        damaged = {}
        for path in reversed(self._paths()):
            found = damage(path)
            if found is None:
                self._set_aside(damaged, path)
                return path
            damaged[path] = found
        if damaged:
            listed = "; ".join(f"{path}: {found}" for path, found in damaged.items())
            raise ValueError(
                f"all checkpoints are damaged ({listed}): put a copy of one back, or remove "
                f"{self.directory} to begin anew"
            )
        return None

    def _set_aside(self, damaged, whole):
        """Damaged ones are renamed, lest they count among those that are kept."""
        for path, found in damaged.items() if self.writes else ():
            aside = path.with_name(path.name.replace("step_", "damaged_"))
            shutil.rmtree(aside, ignore_errors=True)
            path.rename(aside)
            print(f"checkpoint {path} is damaged ({found}), now {aside.name}: going on from {whole.name}")

    def _steps_done(self):
        # Within `fit` JAX keeps the state outside the variables; reading them before this finds nothing.
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def _paths(self):
        return sorted(self.directory.glob("step_[0-9]*"))


def damage(path: pathlib.Path) -> str | None:
    """What is wrong with a checkpoint, or None: each file is compared with its checksum."""
    try:
        lines = (path / SUMS).read_bytes().decode().splitlines()
        expected = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        if sorted(expected) != sorted(FILES):
            return f"{SUMS} does not list {', '.join(FILES)}"
        for name in FILES:
            if workdir.sha256(path / name) != expected[name]:
                return f"{name} differs from its checksum"
    except (OSError, UnicodeDecodeError) as error:
        return str(error)
    return None


def _random_states(model):
    """Where the random numbers of Dropout and its like are: Keras's files of weights leave them out."""
    return [variable for variable in model.variables if variable.name == "seed_generator_state"]


def _arrays(name, variables):
    return {f"{name}_{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}


def _reserve(file, variables):
    """Raise OSError unless the disk has room for these: HDF5 ends the process by a fault on a full disk."""
    # No variable has more than four bytes a number; HDF5 takes pages of its own for each.
    size = sum(4 * math.prod(v.shape) + 4096 for v in variables) + 2**16
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)
        file.unlink()


def _write_sums(path):
    for name in FILES:
        workdir.flush(path / name)
    workdir.write_text(path / SUMS, "".join(f"{workdir.sha256(path / name)}  {name}\n" for name in FILES))
    workdir.flush(path)


def _reason(error):
    """HDF5's long report, or the system's short one."""
    with contextlib.suppress(AttributeError):
        return error.strerror or str(error)
    return str(error)
