"""Helpers of the library's tests, which run on the backend that KERAS_BACKEND names."""

import keras
import numpy as np
import pytest


def _value_and_gradients(function, *arrays):
    arrays = [np.asarray(array, "float32") for array in arrays]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tensors = [tf.constant(array) for array in arrays]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        gradients = tape.gradient(value, tensors, unconnected_gradients="zero")
        return value.numpy(), [gradient.numpy() for gradient in gradients]
    if keras.backend.backend() == "jax":
        import jax

        value, gradients = jax.value_and_grad(function, argnums=tuple(range(len(arrays))))(*arrays)
        return np.asarray(value), [np.asarray(gradient) for gradient in gradients]
    import torch

    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    value = function(*tensors)
    gradients = torch.autograd.grad(value, tensors, allow_unused=True)
    filled = [np.zeros_like(a) if g is None else g.numpy() for a, g in zip(arrays, gradients, strict=True)]
    return value.detach().numpy(), filled


@pytest.fixture
def value_and_gradients():
    """`value_and_gradients(function, *arrays)`: a scalar function and its gradients on any backend."""
    return _value_and_gradients
