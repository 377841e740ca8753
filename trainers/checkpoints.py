"""Checkpoints of a run: written whole or not at all, so that a killed run goes on where it stopped."""

import json
import pathlib
import shutil
import tempfile

import keras


class Checkpoints(keras.callbacks.Callback):
    """Writes weights, dictionary, optimiser and history at the end of each epoch; stops on a NaN loss.

    A checkpoint is a directory `step_<steps done>` with `model.weights.h5` and `history.json`; it is written
    under another name and renamed when complete.

    Args:
        directory: where they go.
        keep: how many of the newest are kept.
        writes: False in all processes but the first of several that train together.

    Raises:
        FloatingPointError: in training, when the loss is not finite.
    """

    def __init__(self, directory: pathlib.Path, keep: int = 2, writes: bool = True):
        super().__init__()
        self.directory, self.keep, self.writes = directory, keep, writes
        self.history: list[dict] = []

    def restore(self, model) -> int:
        """Put the newest checkpoint, if any, into a compiled model; returns the steps it had done."""
        paths = self._paths()
        if not paths:
            return 0
        model.optimizer.build(model.trainable_variables)
        model.load_weights(paths[-1] / "model.weights.h5")
        self.history = json.loads((paths[-1] / "history.json").read_text())
        return int(paths[-1].name.removeprefix("step_"))

    def on_train_batch_end(self, batch, logs=None):
        loss = float((logs or {}).get("loss", 0.0))
        if loss - loss != 0.0:  # NaN and both infinities
            step = self._steps_done()
            last = self._paths()[-1:] or ["none was written yet"]
            raise FloatingPointError(
                f"the loss is {loss} at step {step}: training stopped. Last good checkpoint: {last[0]}. "
                "Lower --base_learning_rate, raise --temperature, or look for broken images in the data"
            )

    def on_epoch_end(self, epoch, logs=None):
        step = self._steps_done()
        self.history.append({name: float(value) for name, value in (logs or {}).items()})
        if not self.writes:
            # Reading a variable that processes share is work for all of them, or the writer waits for ever.
            with tempfile.TemporaryDirectory() as unused:
                self.model.save_weights(pathlib.Path(unused) / "model.weights.h5")
            return
        final = self.directory / f"step_{step:09d}"
        partial = self.directory / f"partial_{step:09d}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self.model.save_weights(partial / "model.weights.h5")
        (partial / "history.json").write_text(json.dumps(self.history, indent=1))
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
        for old in self._paths()[: -self.keep]:
            shutil.rmtree(old)

    def _steps_done(self):
        # Within `fit` JAX keeps the state outside the variables; reading them before this finds nothing.
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()
        return int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))

    def _paths(self):
        return sorted(self.directory.glob("step_*"))
