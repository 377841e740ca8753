"""Equations (2), (4) and (5) of the paper as pure functions of tensors, and the loss of action units.

Nothing here knows of models, replicas or variables; the loop over the queues is in `backend`.
"""

import keras
from keras import ops

from keras_emoco import backend, checks

# Below this distance two unit vectors of float32 are the same: their difference has no direction.
EPSILON = 1e-6


def emotion_loss(logits, labels):
    """Cross-entropy of the emotion classifier, equation (2).

    Args:
        logits: `(B, C)`, the products `w_j q`.
        labels: `(B,)` integers in `[0, C)`.

    Returns:
        `(B,)` float32; NaN where a tensor's label is outside.

    Raises:
        ValueError: shapes that do not fit, or NumPy labels outside.
    """
    classes = checks.shapes(logits=(logits, "BC"), labels=(labels, "B"))["C"]
    checks.labels(labels, classes)
    labels, inside = _inside(ops.cast(labels, "int32"), classes)
    loss = keras.losses.sparse_categorical_crossentropy(labels, ops.cast(logits, "float32"), from_logits=True)
    return ops.where(inside, loss, float("nan"))


def _inside(labels, classes):
    """Labels with 0 for those outside, which each backend takes for something else; and which are inside."""
    inside = labels >= 0
    if classes is not None:
        inside = ops.logical_and(inside, labels < classes)
    return ops.where(inside, labels, 0), inside


def action_unit_loss(logits, labels, positive_weights=None):
    """Binary cross-entropy of each action unit, zero where the unit was not coded.

    Equals `torch.nn.BCEWithLogitsLoss(pos_weight=positive_weights, reduction="none")` where coded.

    Args:
        logits: `(B, A)`.
        labels: `(B, A)`: 1 present, 0 absent, NaN or any negative number not coded.
        positive_weights: `(A,)`: how much more a present unit weighs than an absent one; None for equally.

    Returns:
        `(B, A)` float32 loss, NaN where a tensor's label is above 1, and `(B, A)` float32 of 1 where coded,
        else 0.

    Raises:
        ValueError: shapes that do not fit, or NumPy labels above 1.
    """
    weighted = {} if positive_weights is None else {"positive_weights": (positive_weights, "A")}
    checks.shapes(logits=(logits, "BA"), labels=(labels, "BA"), **weighted)
    checks.occurrence(labels)
    logits, labels = ops.cast(logits, "float32"), ops.cast(labels, "float32")
    # NaN >= 0 is false, as is -1 >= 0; no product below meets the NaN, whose gradient would be one.
    coded, none = labels >= 0.0, labels > 1.0
    labels = ops.where(coded, labels, 0.0)
    weights = 1.0 if positive_weights is None else ops.cast(positive_weights, "float32")
    # -log sigmoid(x) = softplus(-x) and -log(1 - sigmoid(x)) = softplus(x)
    loss = weights * labels * ops.softplus(-logits) + (1.0 - labels) * ops.softplus(logits)
    coded = ops.cast(coded, "float32")
    # An intensity would make the loss fall without end.
    return ops.where(none, float("nan"), coded * loss), coded


def l2_normalize(x):
    """`x / |x|` over the last axis in float32; zero where `x` is zero."""
    x = ops.cast(x, "float32")
    squared = ops.sum(ops.square(x), axis=-1, keepdims=True)
    # The inner `where` keeps the square root's gradient finite where the outer one discards it.
    # Asked this way round a NaN stays one, and training stops; the other way it would become zero.
    zero = squared <= EPSILON**2
    return ops.where(zero, 0.0, x / ops.sqrt(ops.where(zero, 1.0, squared)))


def intra_class_normalize(x, prototypes):
    """Intra-class normalisation `N(x) = (x - w~) / |x - w~|`, equation (4), with `w~ = w / |w|`.

    No gradient flows into the prototypes: they are the centre of the space, not a part of it.

    Args:
        x: `(..., D)` unit vectors.
        prototypes: `(..., D)` raw rows `w` of the emotion classifier, one for each row of `x`.

    Returns:
        `(..., D)` float32 unit vectors; zero where `x` is its prototype.
    """
    return l2_normalize(ops.cast(x, "float32") - ops.stop_gradient(l2_normalize(prototypes)))


def contrastive_loss(queries, keys, labels, queues, prototypes=None, temperature=0.2):
    """Emotion-aware contrastive loss, equation (5), of each query against its own emotion's queue.

    The gradient reaches the queries alone: keys, queues and prototypes are constants, as in MoCo.

    Args:
        queries: `(B, D)` unit vectors `q`.
        keys: `(B, D)` unit vectors `k+`, the positives.
        labels: `(B,)` integers in `[0, C)`, the emotion of each query.
        queues: `(C, K, D)` unit vectors `k-`, one queue for each emotion, or `(1, K, D)`, one for all.
        prototypes: `(C, D)` raw rows of the emotion classifier, or None for plain L2 normalisation.
        temperature: `tau`.

    Returns:
        `(B,)` float32; NaN where a tensor's label is outside.

    Raises:
        ValueError: shapes that do not fit, NumPy labels outside, or a temperature that is not positive.
    """
    loss, _ = contrastive_loss_and_accuracy(queries, keys, labels, queues, prototypes, temperature)
    return loss


def contrastive_loss_and_accuracy(queries, keys, labels, queues, prototypes=None, temperature=0.2):
    """`contrastive_loss`, and for each query whether its positive beats all its negatives.

    Args: as `contrastive_loss`.

    Returns:
        `(B,)` float32 loss and `(B,)` float32 of 0 and 1.
    """
    classes = _check(queries, keys, labels, queues, prototypes, temperature)
    queries, keys = ops.cast(queries, "float32"), ops.stop_gradient(ops.cast(keys, "float32"))
    labels, inside = _inside(ops.cast(labels, "int32"), classes)
    if prototypes is None:
        groups = labels if queues.shape[0] > 1 else ops.zeros_like(labels)
    else:
        groups = labels
        prototypes = ops.stop_gradient(l2_normalize(prototypes))
        own = ops.take(prototypes, labels, axis=0)
        queries, keys = intra_class_normalize(queries, own), intra_class_normalize(keys, own)
    queries = queries / temperature
    positive = ops.sum(queries * keys, axis=-1)
    negatives, hardest = negatives_logsumexp(queries, groups, queues, prototypes)
    # -log(e^p / (e^p + sum e^n)) = log(1 + e^(logsumexp(n) - p))
    loss = ops.softplus(negatives - positive)
    return ops.where(inside, loss, float("nan")), ops.cast(positive > hardest, "float32")


def _check(queries, keys, labels, queues, prototypes, temperature):
    """The number of classes, None where one queue is for all and there are no prototypes."""
    named = {
        "queries": (queries, "BD"),
        "keys": (keys, "BD"),
        "labels": (labels, "B"),
        "queues": (queues, "GKD"),
    }
    sizes = checks.shapes(**named, **({} if prototypes is None else {"prototypes": (prototypes, "CD")}))
    classes = sizes.get("C", sizes["G"] if sizes["G"] > 1 else None)
    if sizes["G"] not in (1, classes):
        raise ValueError(
            f"expected a queue for each of {classes} prototypes, or one for all; got {sizes['G']}"
        )
    checks.number("temperature", temperature, "positive", lambda value: value > 0)
    checks.labels(labels, classes)
    return classes


def negatives_logsumexp(queries, groups, queues, prototypes):
    """Log-sum-exp and maximum of each query's products with its own normalised queue.

    The queue is read once, in chunks: beside the sum of exponentials it accumulates the sum of the keys
    they weigh. That is the gradient, so the backward pass is one product of `(B, D)` tensors and
    neither a `(B, K)` matrix nor a normalised dictionary exists.

    Args:
        queries: `(B, D)`, normalised and divided by the temperature.
        groups: `(B,)` int32: which queue, and which prototype, is the query's own.
        queues: `(G, K, D)` or `(1, K, D)`.
        prototypes: `(G, D)` unit vectors or None.

    Returns:
        `(B,)` log-sum-exp and `(B,)` maximum, float32.
    """
    constants = ops.stop_gradient(queries)
    nothing = ops.zeros_like(constants[:, 0])
    state = (nothing - 1e30, nothing, ops.zeros_like(constants))
    state = backend.fold_queues(absorb, state, constants, groups, queues, prototypes)
    maximum, total, weighted = state
    logsumexp = maximum + ops.log(total)
    gradient = ops.stop_gradient(weighted / total[:, None])
    # Zero in value; its derivative with respect to the queries is the gradient found on the way.
    carrier = ops.sum(gradient * (queries - constants), axis=-1)
    return ops.stop_gradient(logsumexp) + carrier, ops.stop_gradient(maximum)


def absorb(state, queries, prototype, keys):
    """Take one chunk of one queue into the running log-sum-exp of the queries that own it.

    With n queries u = N(q) / tau, S keys k of the chunk and the prototype w, all of them unit vectors
    before the division, the logit of (5) needs neither k - w nor its norm as a tensor of the chunk's size:

        <u, N(k)> = (u.k - u.w) / |k - w|     and     |k - w|^2 = 2 - 2 k.w

    The product of the chunk with w is one of its own: stacked on u, which replicas share out among them, it
    would have XLA exchange what belongs to the whole queue.

    Args:
        state: maximum `(n,)`, total `(n,)` = sum of e^(logit - maximum), weighted `(n, D)` = the same sum
            with each term times N(k), the derivative of its logit with respect to u.
        queries: `(n, D)` u.
        prototype: `(D,)` w, or None for plain L2 normalisation, where the logit is u.k.
        keys: `(S, D)`.

    Returns:
        The new state.
    """
    maximum, total, weighted = state
    if prototype is None:
        logits = ops.matmul(queries, ops.transpose(keys))
    else:
        squared = 2.0 - 2.0 * ops.matmul(keys, prototype)
        # A key closer to the prototype than float32 can tell has N(k) = 0.
        near = squared <= EPSILON
        inverse = ops.where(near, 0.0, ops.rsqrt(ops.where(near, 1.0, squared)))
        products = ops.matmul(queries, ops.transpose(keys))
        logits = (products - ops.matmul(queries, prototype[:, None])) * inverse
    new_maximum = ops.maximum(maximum, ops.max(logits, axis=-1))
    decay = ops.exp(maximum - new_maximum)
    weights = ops.exp(logits - new_maximum[:, None])
    total = total * decay + ops.sum(weights, axis=-1)
    if prototype is None:
        weighted = weighted * decay[:, None] + ops.matmul(weights, keys)
    else:
        weights = weights * inverse
        weighted = weighted * decay[:, None] + ops.matmul(weights, keys)
        weighted = weighted - ops.sum(weights, axis=-1, keepdims=True) * prototype
    return new_maximum, total, weighted


def nan_unless_finite(loss, tensors):
    """`loss`, or NaN where a number in `tensors` is NaN or infinite.

    The loss alone does not tell: TensorFlow's ReLU may turn NaN into 0, and training would go on with NaN
    weights and a finite loss.

    Args:
        loss: scalar.
        tensors: tensors or variables of any shapes, `vectors` of a model among them.

    Returns:
        Scalar.
    """
    total = sum(ops.sum(ops.cast(tensor, "float32")) for tensor in tensors)
    return ops.where(ops.isfinite(total), loss, float("nan"))


def vectors(variables) -> list:
    """BatchNorm and the biases: a NaN at any depth reaches those of that depth, and they are few.

    Returns:
        One `(n,)` tensor of all, as a sum for each is a hundred small operations; none if there is none.
    """
    found = [ops.cast(variable, "float32") for variable in variables if len(variable.shape) == 1]
    return [ops.concatenate(found)] if found else []
