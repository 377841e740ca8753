"""Compiled calls on each Keras backend, for timing: what `fit` compiles, without `fit` around it.

Each function gives a function of no arguments that computes once, waits for the result and returns it.
"""

import keras


def value_and_gradient(function, x):
    """The value of a scalar function and its gradient with respect to `x`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return value, tape.gradient(value, x)
    if keras.backend.backend() == "jax":
        import jax

        return jax.value_and_grad(function)(x)
    import torch

    x = x.detach().requires_grad_()
    value = function(x)
    return value.detach(), torch.autograd.grad(value, x)[0]


def compiled(function, variables):
    """`function()`, which may change `variables`."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False).get_concrete_function()
    if keras.backend.backend() == "jax":

        def pure(state):
            mapping = list(zip(variables, state, strict=True))
            with keras.StatelessScope(state_mapping=mapping) as scope:
                result = function()
            return result, [scope.get_current_value(variable) for variable in variables]

        return _donating(pure, [variable.value for variable in variables])
    return function


def training_step(model, data):
    """One step of a compiled model on `data`, `((query_view, key_view), labels)`."""
    model.optimizer.build(model.trainable_variables)
    data = keras.tree.map_structure(keras.ops.convert_to_tensor, data)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(lambda: model.train_step(data), autograph=False).get_concrete_function()
    if keras.backend.backend() == "jax":
        groups = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
        state = tuple([variable.value for variable in group] for group in groups)
        return _donating(lambda state: model.train_step(state, data), state)

    return lambda: model.train_step(data)


def _donating(function, state):
    """Call after call of `function(state) -> (result, state)`, each on the memory of the one before."""
    import jax

    step = jax.jit(function, donate_argnums=0).lower(state).compile()

    def run():
        nonlocal state
        result, state = jax.block_until_ready(step(state))
        return result

    return run
