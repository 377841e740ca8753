"""TensorFlow. A replica of `tf.distribute` reads and writes its own copy of each variable."""

import contextlib

import keras
import tensorflow as tf
from tensorflow.python.ops import control_flow_util

from keras_emoco.backend.common import CHUNK


def fold_queues(absorb, state, queries, groups, queues, prototypes):
    """See `keras_emoco.losses.negatives_logsumexp`.

    Queries are grouped and each group meets its own queue alone. XLA wants static shapes: there each
    group meets all the queries, and the rows of other classes keep their state.
    """
    static = control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
    # XLA reads the variable where it lies; TensorFlow would copy it whole, so `_read` takes its rows.
    queues = tf.convert_to_tensor(_local(queues)) if static else _local(queues)
    size, dim = queues.shape[1:]
    count = queues.shape[0] if prototypes is None else prototypes.shape[0]

    def fold(state, queries, group):
        prototype = None if prototypes is None else prototypes[group]
        queue = tf.minimum(group, queues.shape[0] - 1)
        whole = size // CHUNK
        if whole:
            _, state = tf.while_loop(
                lambda i, _: i < whole,
                lambda i, s: (i + 1, absorb(s, queries, prototype, _read(queues, queue, i * CHUNK, CHUNK))),
                (0, state),
            )
        if size % CHUNK:
            keys = _read(queues, queue, whole * CHUNK, size % CHUNK)
            state = absorb(state, queries, prototype, keys)
        return state

    def static_group(group, state):
        mine = tf.equal(groups, group)
        new = fold(state, queries, group)
        return group + 1, tuple(
            tf.where(mine if len(old.shape) == 1 else mine[:, None], fresh, old)
            for fresh, old in zip(new, state, strict=True)
        )

    def dynamic_group(group, state):
        rows = tf.where(tf.equal(groups, group))
        own = tf.ensure_shape(tf.gather(queries, rows[:, 0]), (None, dim))

        def met():
            new = fold(tuple(tf.gather(part, rows[:, 0]) for part in state), own, group)
            return tuple(
                tf.tensor_scatter_nd_update(old, rows, fresh) for old, fresh in zip(state, new, strict=True)
            )

        return group + 1, tf.cond(tf.shape(rows)[0] > 0, met, lambda: state)

    body = static_group if static else dynamic_group
    _, state = tf.while_loop(lambda group, _: group < count, body, (0, state))
    return state


def after(x, first):
    """`x` as it is: what stands later in the program reads and writes variables later."""
    return x


def write_rows(variable, indices, rows):
    """`variable[indices] = rows` in place; `indices` is a tuple of `(n,)` integer tensors."""
    _local(variable).scatter_nd_update(tf.stack(indices, axis=-1), rows)


def moving_average(targets, sources, momentum):
    """`target := momentum * target + (1 - momentum) * source` for all pairs of variables in one call."""

    def update():
        # In this form the average of a constant is the constant: two products would round apart from it. The
        # operation of gradient descent multiplies and subtracts at once also where XLA does not.
        for target, source in zip(map(_local, targets), map(_local, sources), strict=True):
            tf.raw_ops.ResourceApplyGradientDescent(
                var=target.handle, alpha=1.0 - momentum, delta=target - source
            )

    _in_one_pass(update)


def gather_replicas(x):
    """`x` of all replicas, in replica order, along the first axis."""
    replica = tf.distribute.get_replica_context()
    if replica.num_replicas_in_sync == 1:
        return x
    gathered = replica.all_gather(x, axis=0)
    size = x.shape[0] and x.shape[0] * replica.num_replicas_in_sync
    return tf.ensure_shape(gathered, (size, *x.shape[1:]))


def scale_loss(loss):
    """The replica's share of the loss: gradients are summed over replicas."""
    return loss / tf.distribute.get_strategy().num_replicas_in_sync


def train_step(model, step, data):
    """One optimiser step with statistics of BatchNorm over all replicas, then the momentum update."""
    with _synchronized_batch_normalization(model), _fused_update(model.optimizer):
        logs = step(data)
    return model.finish_step(logs)


def random_state():
    """Nothing: Keras's variables say where random layers are."""
    return []


def set_random_state(state):
    """Does nothing; see `random_state`."""


@contextlib.contextmanager
def _synchronized_batch_normalization(model):
    # Set while the step is traced, not in the layers' configuration: an encoder saved with
    # `synchronized=True` could not be loaded under JAX and PyTorch.
    layers = []
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        layers = [
            layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)
        ]
    before = [layer.synchronized for layer in layers]
    for layer in layers:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.synchronized = value


@contextlib.contextmanager
def _fused_update(optimizer):
    # Set while the step is traced: AdamW is a dozen operations for each weight.
    if not _xla_is_for_updates():  # Replicas are traced side by side, and share the optimiser.
        yield
        return
    apply = optimizer.apply
    optimizer.apply = lambda *gradients_and_variables: _in_one_pass(lambda: apply(*gradients_and_variables))
    try:
        yield
    finally:
        del optimizer.apply


def _in_one_pass(update):
    """Runs element-wise operations on variables as one loop over memory, which is all they cost.

    TensorFlow would send each through memory by itself; XLA makes one loop of them.
    """
    if _xla_is_for_updates():
        update = tf.function(update, jit_compile=True, autograph=False)
    update()


def _xla_is_for_updates():
    """Whether a step is being traced on one CPU: with an accelerator Keras has XLA compile all of it."""
    accelerated = any(device.device_type != "CPU" for device in tf.config.list_physical_devices())
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return not (tf.executing_eagerly() or accelerated or replicas > 1)


def _local(x):
    """The tensor or `tf.Variable` that this replica works on."""
    x = x.value if isinstance(x, keras.Variable) else x
    if isinstance(x, tf.distribute.DistributedValues):
        replica = tf.distribute.get_replica_context()
        if replica is not None:
            return x._get()
    return x


def _read(queues, queue, start, length):
    """`queues[queue, start : start + length]`; of a variable, without a copy of the whole."""
    if isinstance(queues, tf.Variable):
        columns = start + tf.range(length)
        return tf.gather_nd(queues, tf.stack([tf.fill((length,), queue), columns], axis=-1))
    return tf.slice(queues, (queue, start, 0), (1, length, queues.shape[2]))[0]
