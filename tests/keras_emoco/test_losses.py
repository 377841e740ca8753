"""Equations (4) and (5) against a plain PyTorch rendering of the paper."""

import math

import keras
import numpy as np
import pytest
import torch

from keras_emoco import losses


def unit(rng, *shape):
    x = rng.normal(size=shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype("float32")


def plain(queries, keys, labels, queues, prototypes, temperature):
    """(4) and (5) as the paper writes them, one query at a time, in float64."""

    def n(x, w):
        # Plain L2 normalisation is a part of the projection head: the vectors are unit vectors already.
        return x if w is None else torch.nn.functional.normalize(x - w / w.norm(), dim=-1)

    result = []
    for q, k, y in zip(queries, keys, labels, strict=True):
        queue = queues[min(int(y), len(queues) - 1)]
        w = None if prototypes is None else prototypes[int(y)]
        logits = torch.cat([n(k, w)[None], n(queue, w)]) @ n(q, w) / temperature
        result.append(torch.logsumexp(logits, 0) - logits[0])
    return torch.stack(result)


def reference(weights, labels, temperature, *arrays):
    tensors = [None if a is None else torch.tensor(a, dtype=torch.float64) for a in arrays]
    queries, keys, queues, prototypes = tensors
    queries.requires_grad_()
    loss = plain(queries, keys, labels, queues, prototypes, temperature)
    (loss * torch.tensor(weights)).sum().backward()
    return loss.detach().numpy(), queries.grad.numpy()


CASES = {
    # name: (B, C, K, queues, class missing from the batch)
    "random": (33, 5, 300, 5, None),
    "two chunks and a remainder": (16, 3, 4500, 3, None),
    "exactly one chunk": (8, 2, 2048, 2, None),
    "class missing": (24, 4, 64, 4, 2),
    "queue of one": (9, 3, 1, 3, None),
    "one query": (1, 7, 50, 7, None),
    "shared queue": (20, 5, 200, 1, None),
    "one class": (10, 1, 30, 1, None),
}


@pytest.mark.parametrize("normalization", ["intra_class", "l2"])
@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_equal_plain_pytorch(name, normalization, value_and_gradients):
    batch, classes, size, queue_count, missing = CASES[name]
    rng = np.random.default_rng(len(name))
    labels = rng.integers(0, classes, batch)
    if missing is not None:
        labels[labels == missing] = 0
    queries, keys, queues = unit(rng, batch, 128), unit(rng, batch, 128), unit(rng, queue_count, size, 128)
    prototypes = rng.normal(size=(classes, 128)).astype("float32") if normalization == "intra_class" else None
    weights = rng.uniform(0.5, 1.5, batch)
    expected, expected_gradient = reference(weights, labels, 0.2, queries, keys, queues, prototypes)

    loss = losses.contrastive_loss(queries, keys, labels, queues, prototypes, temperature=0.2)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), expected, rtol=1e-5)

    arrays = [queries, keys, queues] + ([] if prototypes is None else [prototypes])

    def weighted(queries, keys, queues, prototypes=None):
        loss = losses.contrastive_loss(queries, keys, labels, queues, prototypes, temperature=0.2)
        return keras.ops.sum(loss * keras.ops.convert_to_tensor(weights, "float32"))

    _, (gradient, *others) = value_and_gradients(weighted, *arrays)
    scale = np.abs(expected_gradient).max()
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-5 * scale)
    for other in others:
        assert not other.any(), "keys, queues and prototypes are constants"


def test_query_equal_to_its_prototype(value_and_gradients):
    rng = np.random.default_rng(0)
    queues, keys = unit(rng, 2, 40, 128), unit(rng, 2, 128)
    prototypes = 3.0 * unit(rng, 2, 128)
    queries = (prototypes / np.linalg.norm(prototypes, axis=-1, keepdims=True)).astype("float32")

    def total(queries):
        return keras.ops.sum(losses.contrastive_loss(queries, keys, np.array([0, 1]), queues, prototypes))

    value, (gradient,) = value_and_gradients(total, queries)
    # N(q) = 0: all 41 logits are zero.
    np.testing.assert_allclose(value, 2 * math.log(41), rtol=1e-6)
    assert np.isfinite(gradient).all()


def test_key_equal_to_its_prototype_is_the_origin_of_the_normalized_space():
    rng = np.random.default_rng(1)
    queues, queries, keys = unit(rng, 1, 10, 128), unit(rng, 3, 128), unit(rng, 3, 128)
    prototypes = queues[:, 0] * 2.0
    loss = losses.contrastive_loss(queries, keys, np.zeros(3, int), queues, prototypes)

    def n(x):
        difference = x.astype("float64") - queues[0, 0]
        norm = np.linalg.norm(difference, axis=-1, keepdims=True)
        return np.where(norm > 0, difference / np.where(norm > 0, norm, 1.0), 0.0)

    negatives = n(queries) @ n(queues[0]).T / 0.2
    assert (negatives[:, 0] == 0.0).all()
    positives = (n(queries) * n(keys)).sum(-1) / 0.2
    expected = np.log(np.exp(positives) + np.exp(negatives).sum(-1)) - positives
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), expected, rtol=1e-5)


def test_intra_class_normalization_by_hand():
    # q = (0.6, 0.8), w = (2, 0) so w~ = (1, 0): q - w~ = (-0.4, 0.8), norm sqrt(0.8).
    result = losses.intra_class_normalize(
        np.array([[0.6, 0.8]], "float32"), np.array([[2.0, 0.0]], "float32")
    )
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(result), [[-0.4 / math.sqrt(0.8), 0.8 / math.sqrt(0.8)]], rtol=1e-6
    )


def test_contrastive_accuracy_counts_positives_that_beat_every_negative():
    queues = np.array([[[1.0, 0.0], [0.0, 1.0]]], "float32")
    queries = np.array([[1.0, 0.0], [1.0, 0.0]], "float32")
    keys = np.array([[0.8, 0.6], [1.0, 0.0]], "float32")
    queues[0, 0] = [0.96, 0.28]
    _, accuracy = losses.contrastive_loss_and_accuracy(queries, keys, np.zeros(2, int), queues)
    # Products 0.8 and 1.0 with the positives; the hardest negative has 0.96.
    assert keras.ops.convert_to_numpy(accuracy).tolist() == [0.0, 1.0]


def test_emotion_loss_equals_torch_cross_entropy():
    rng = np.random.default_rng(2)
    logits, labels = rng.normal(size=(11, 7)).astype("float32"), rng.integers(0, 7, 11)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(logits), torch.tensor(labels), reduction="none"
    ).numpy()
    result = keras.ops.convert_to_numpy(losses.emotion_loss(logits, labels))
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_a_vector_that_is_not_a_number_stays_so():
    result = losses.l2_normalize(np.array([[np.nan, 1.0], [0.0, 0.0]], "float32"))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(result), [[np.nan, np.nan], [0.0, 0.0]])
