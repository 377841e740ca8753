"""F1 of each action unit as a Keras metric, for the logs of `fit`. Tables of results: `trainers.scores`."""

import keras
from keras import ops

from keras_emoco import checks


@keras.saving.register_keras_serializable("keras_emoco")
class F1PerActionUnit(keras.metrics.Metric):
    """F1 of each action unit pooled over all frames seen, and their average, between 0 and 1.

    It equals `sklearn.metrics.f1_score(labels, probabilities > threshold, zero_division=0)` on the coded
    frames: a unit neither present nor predicted has F1 0, and counts in the average.

    Args:
        action_units: numbers of the `A` units, in the order of the columns.
        threshold: a unit is predicted where its probability is above this.
        name: of the average in the logs; a unit's F1 is `<name>_au<number>`.
        dtype: of the counts. Half precision cannot count frames, so the default is float32.

    Example:
    ```python
    model.compile(optimizer, loss, metrics=[keras_emoco.metrics.F1PerActionUnit((1, 2, 4))])
    ```

    Reference: section IV.C of the paper, "F1 score" and "Avg.".

    Raises:
        ValueError: the threshold lies outside [0, 1), units are none, or labels or probabilities have another
            shape.
    """

    def __init__(
        self, action_units=(1, 2, 4), threshold: float = 0.5, name: str = "f1", dtype: str = "float32"
    ):
        super().__init__(name=name, dtype=dtype)
        checks.number("threshold", threshold, "a number in [0, 1)", lambda value: 0.0 <= value < 1.0)
        checks.action_units(action_units)
        self.action_units = tuple(int(unit) for unit in action_units)
        self.threshold = threshold
        shape = (len(self.action_units),)
        self.hits = self.add_variable(shape, initializer="zeros", name="hits")
        self.predicted = self.add_variable(shape, initializer="zeros", name="predicted")
        self.present = self.add_variable(shape, initializer="zeros", name="present")

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Count one batch.

        Args:
            y_true: `(B, A)`: 1 present, 0 absent, NaN or any negative number not coded.
            y_pred: `(B, A)` probabilities.
            sample_weight: `(B,)` or None: how much each frame counts.
        """
        if y_true.shape[-1] != len(self.action_units) or len(y_true.shape) != 2:
            raise ValueError(
                f"labels must have shape (batch, {len(self.action_units)}), one column for each of "
                f"action_units={self.action_units}; got {tuple(y_true.shape)}"
            )
        checks.shapes(y_true=(y_true, "BA"), y_pred=(y_pred, "BA"))
        # NaN >= 0 is false, as is -1 >= 0.
        weights = ops.cast(ops.cast(y_true, "float32") >= 0.0, self.dtype)
        if sample_weight is not None:
            weights = weights * ops.reshape(ops.cast(sample_weight, self.dtype), (-1, 1))
        present = weights * ops.cast(ops.cast(y_true, "float32") > 0.5, self.dtype)
        predicted = ops.cast(ops.cast(y_pred, "float32") > self.threshold, self.dtype)
        self.hits.assign_add(ops.sum(present * predicted, axis=0))
        self.predicted.assign_add(ops.sum(weights * predicted, axis=0))
        self.present.assign_add(ops.sum(present, axis=0))

    def result(self) -> dict:
        f1 = ops.divide_no_nan(2.0 * self.hits, self.predicted + self.present)
        units = {f"{self.name}_au{unit}": f1[i] for i, unit in enumerate(self.action_units)}
        return {self.name: ops.mean(f1), **units}

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "action_units": list(self.action_units),
            "threshold": self.threshold,
        }
