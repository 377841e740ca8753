"""The optimiser and the schedule against PyTorch's."""

import keras
import numpy as np
import pytest
import torch

from keras_emoco import optimizers


def test_sgd_with_cosine_equals_torch_over_fifty_steps():
    rng = np.random.default_rng(0)
    start = {"kernel": rng.normal(size=(5, 3)), "bias": rng.normal(size=3), "gamma": np.ones(4)}
    steps, batch_size = 50, 128
    variables = [keras.Variable(value.astype("float32"), name=name) for name, value in start.items()]
    optimizer = optimizers.sgd(optimizers.cosine(0.03, batch_size=batch_size, steps=steps), weight_decay=1e-2)
    optimizer.build(variables)

    parameters = [torch.nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in start.values()]
    peer = torch.optim.SGD(parameters, lr=0.03 * batch_size / 256, momentum=0.9, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(peer, T_max=steps, eta_min=0.0)
    for _ in range(steps):
        gradients = [rng.normal(size=value.shape) for value in start.values()]
        optimizer.apply(
            [keras.ops.convert_to_tensor(gradient.astype("float32")) for gradient in gradients], variables
        )
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        peer.step()
        schedule.step()
    for variable, parameter in zip(variables, parameters, strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(variable), parameter.detach().numpy(), rtol=1e-6, atol=1e-6
        )


def test_cosine_starts_at_the_scaled_base_and_ends_at_zero():
    schedule = optimizers.cosine(0.03, batch_size=512, steps=100)
    values = [float(keras.ops.convert_to_numpy(schedule(step))) for step in (0, 50, 100)]
    np.testing.assert_allclose(values, [0.06, 0.03, 0.0], atol=1e-8)


@pytest.mark.parametrize("name", ["base", "batch_size", "steps"])
def test_cosine_refuses_what_is_not_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be positive"):
        optimizers.cosine(**{"base": 0.03, "batch_size": 256, "steps": 10, name: 0})


def test_sgd_survives_serialization():
    optimizer = optimizers.sgd(0.1, momentum=0.8, weight_decay=0.5)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert (again.momentum, again.l2) == (0.8, 0.5)
