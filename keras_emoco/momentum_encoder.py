"""The momentum update of the key encoder, equation (3), as a callback."""

import keras

from keras_emoco import backend, checks


class MomentumEncoder(keras.callbacks.Callback):
    """Moves the key encoder towards the query encoder after every optimiser step, equation (3).

    `EmoCo.fit` adds one with the model's own momentum when the caller does not. The callback owns `m` and
    the formula; the model's compiled step calls `update`, once after each optimiser step. A hook that runs
    between calls of the compiled function could not: with `steps_per_execution=n` it runs every n steps.

    Args:
        momentum: `m` in `[0, 1)`.

    Raises:
        ValueError: `momentum` lies outside `[0, 1)`.
    """

    def __init__(self, momentum: float = 0.999):
        super().__init__()
        checks.number("momentum", momentum, "a number in [0, 1)", lambda value: 0.0 <= value < 1.0)
        self.momentum = momentum

    def update(self, model) -> None:
        """`theta_k := m theta_k + (1 - m) theta_q`.

        theta are the trained weights, the scale and offset of BatchNorm among them; its statistics are not,
        the key encoder keeps its own, unless the model's `key_statistics` are `"moving"`.
        """
        backend.moving_average(model.key_variables, model.query_variables, self.momentum)
