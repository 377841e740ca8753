"""The optimiser and the schedule of section IV.B: SGD as PyTorch has it, and the cosine."""

import numbers

import keras

from keras_emoco import checks


@keras.saving.register_keras_serializable("keras_emoco")
class SGD(keras.optimizers.Optimizer):
    """SGD with momentum whose weight decay is an L2 term of the gradient, as `torch.optim.SGD`.

    Each trainable variable w with gradient g and buffer b follows

        g := g + weight_decay * w        b := momentum * b + g        w := w - learning_rate * b

    Two differences from `keras.optimizers.SGD` change the result: Keras decays the weights apart from the
    gradient, past the momentum buffer, and it keeps the learning rate inside the buffer, so that a
    schedule acts on old gradients late.

    Args:
        learning_rate: float or schedule.
        momentum: in `[0, 1)`.
        weight_decay: coefficient of the L2 term; on every trainable variable, biases and BatchNorm too.

    Raises:
        ValueError: an argument is outside its range.
    """

    def __init__(self, learning_rate=0.03, momentum=0.9, weight_decay=1e-4, name="sgd", **kwargs):
        # A schedule, its configuration or a function is Keras's to check.
        if isinstance(learning_rate, (numbers.Real, str, type(None))):
            checks.number("learning_rate", learning_rate, "a number of at least 0", lambda value: value >= 0)
            learning_rate = float(learning_rate)
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        checks.number("momentum", momentum, "a number in [0, 1)", lambda value: 0.0 <= value < 1.0)
        checks.number("weight_decay", weight_decay, "a number of at least 0", lambda value: value >= 0.0)
        self.momentum = momentum
        # Not named `weight_decay`: the base class would apply its own, decoupled one.
        self.l2 = weight_decay

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.buffers = self.add_optimizer_variables(variables, "buffer")

    def update_step(self, gradient, variable, learning_rate):
        dtype = variable.dtype
        gradient = keras.ops.cast(gradient, dtype) + self.l2 * keras.ops.convert_to_tensor(variable)
        buffer = self.buffers[self._get_variable_index(variable)]
        self.assign(buffer, self.momentum * keras.ops.convert_to_tensor(buffer) + gradient)
        self.assign_sub(variable, keras.ops.cast(learning_rate, dtype) * keras.ops.convert_to_tensor(buffer))

    def get_config(self) -> dict:
        config = super().get_config()
        config.update({"momentum": self.momentum, "weight_decay": self.l2})
        return config


def sgd(learning_rate, momentum: float = 0.9, weight_decay: float = 1e-4) -> SGD:
    """The optimiser of the paper: `torch.optim.SGD` with these arguments, step for step.

    Args:
        learning_rate: float or `keras.optimizers.schedules.LearningRateSchedule`, e.g. `cosine(...)`.
        momentum: in `[0, 1)`.
        weight_decay: coefficient of the L2 term of the gradient.
    """
    return SGD(learning_rate, momentum=momentum, weight_decay=weight_decay)


def cosine(
    base: float = 0.03, batch_size: int = 256, steps: int = 0
) -> keras.optimizers.schedules.CosineDecay:
    """`base * batch_size / 256` falling to zero over `steps` optimiser steps along a cosine, no warm-up.

    Args:
        base: learning rate at a batch of 256.
        batch_size: images in one optimiser step, over all replicas.
        steps: length of the whole run; there is no default that would be right.

    Raises:
        ValueError: an argument is not positive, or `base` not finite.
    """
    for name, value in {"base": base, "batch_size": batch_size, "steps": steps}.items():
        checks.number(name, value, "positive and finite", lambda value: value > 0)
    return keras.optimizers.schedules.CosineDecay(base * batch_size / 256, decay_steps=steps)
