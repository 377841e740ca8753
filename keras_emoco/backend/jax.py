"""JAX. Arrays are global: under `keras.distribution` one program sees the batch of all replicas."""

import jax
import jax.numpy as jnp
import keras
from keras import StatelessScope

from keras_emoco.backend.common import CHUNK, keep_tensorflow_off_gpus

keep_tensorflow_off_gpus()


def fold_queues(absorb, state, queries, groups, queues, prototypes):
    """See `keras_emoco.losses.negatives_logsumexp`; shapes are static, so each group meets all the queries.

    A class that the batch lacks is skipped, and the rows of other classes keep their state.
    """
    queues = getattr(queues, "value", queues)
    size, dim = queues.shape[1:]
    count = queues.shape[0] if prototypes is None else prototypes.shape[0]
    chunk = min(CHUNK, size)

    def fold_group(state, group):
        mine = groups == group
        queue = jnp.minimum(group, queues.shape[0] - 1)
        prototype = None if prototypes is None else prototypes[group]

        def read(state, start, length):
            keys = jax.lax.dynamic_slice(queues, (queue, start, 0), (1, length, dim))[0]
            return absorb(state, queries, prototype, keys)

        def fold(state):
            starts = jnp.arange(size // chunk) * chunk
            new, _ = jax.lax.scan(lambda s, start: (read(s, start, chunk), None), state, starts)
            if size % chunk:
                new = read(new, size - size % chunk, size % chunk)
            return tuple(
                jnp.where(mine if old.ndim == 1 else mine[:, None], fresh, old)
                for fresh, old in zip(new, state, strict=True)
            )

        return jax.lax.cond(mine.any(), fold, lambda state: state, state), None

    state, _ = jax.lax.scan(fold_group, state, jnp.arange(count, dtype=groups.dtype))
    return state


def write_rows(variable, indices, rows):
    """`variable[indices] = rows`; in place where the step donates its state, as `fit` does."""
    variable.assign(variable.value.at[indices].set(rows))


def moving_average(targets, sources, momentum):
    """`target := momentum * target + (1 - momentum) * source` for all pairs of variables in one call."""
    # In this form the average of a constant is the constant: two products would round apart from it.
    for target, source in zip(targets, sources, strict=True):
        target.assign(target.value + (1.0 - momentum) * (source.value - target.value))


def gather_replicas(x):
    """The batch as it is: it is the global one already. Each device gets all of it, once and here."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return x
    everywhere = jax.sharding.NamedSharding(
        distribution.device_mesh.backend_mesh, jax.sharding.PartitionSpec()
    )
    return jax.lax.with_sharding_constraint(x, everywhere)


def scale_loss(loss):
    """The loss as it is: it is the mean over the global batch already."""
    return loss


def train_step(model, step, state, data):
    """One optimiser step, then the momentum update of the model, as one function of the state."""
    logs, state = step(state, data)
    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    mapping = [pair for group in zip(groups, state, strict=True) for pair in zip(*group, strict=True)]
    with StatelessScope(state_mapping=mapping) as scope:
        logs = model.finish_step(logs)
    return logs, tuple([scope.get_current_value(variable) for variable in group] for group in groups)
