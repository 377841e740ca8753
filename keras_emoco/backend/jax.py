"""JAX. Arrays are global: under `keras.distribution` one program sees the batch of all replicas."""

import functools
import importlib.metadata
import importlib.util
import os

import jax
import jax.numpy as jnp
import keras
from keras import StatelessScope

from keras_emoco.backend.common import CHUNK, keep_tensorflow_off_gpus

keep_tensorflow_off_gpus()


def keep_fast_convolutions() -> None:
    """Have XLA leave the convolutions of a CPU as they are; of use until JAX has started.

    Its simplifier exchanges map and kernel where the map is smaller, and for the result its CPU has only
    plain loops: at 48 pixels a step of ResNet-18 takes many times as long (docs/performance.md).
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_disable_hlo_passes" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_disable_hlo_passes=algsimp".strip()


if not importlib.metadata.entry_points(group="jax_plugins") and not importlib.util.find_spec("libtpu"):
    # Neither GPU nor TPU can be had.
    keep_fast_convolutions()

# Queries that meet a queue together: what fills the vector unit of a CPU, or the matrix unit of a TPU.
CPU_TILE, TILE = 16, 128


def fold_queues(absorb, state, queries, groups, queues, prototypes):
    """See `keras_emoco.losses.negatives_logsumexp`; each device folds its own share of the queries."""
    fold = functools.partial(_fold_groups, absorb)
    queues = getattr(queues, "value", queues)
    distribution = keras.distribution.distribution()
    if distribution is not None:
        batch = jax.sharding.PartitionSpec(distribution.batch_dim_name)
        whole = jax.sharding.PartitionSpec()
        fold = jax.shard_map(
            fold,
            mesh=distribution.device_mesh.backend_mesh,
            in_specs=(batch, batch, batch, whole, whole),
            out_specs=batch,
            check_vma=False,
        )
    return fold(state, queries, groups, queues, prototypes)


def _fold_groups(absorb, state, queries, groups, queues, prototypes):
    """Sorted by group, queries are taken tile by tile, and those of a tile's first group meet their queue.

    XLA wants static shapes: rows of other groups in the tile are computed too, and keep their state.
    """
    order = jnp.argsort(groups)
    queries, groups, *state = (x[order] for x in (queries, groups, *state))
    rows = jnp.arange(len(queries))
    tile = min(CPU_TILE if jax.default_backend() == "cpu" else TILE, len(queries))

    def fold_tile(carry):
        start, state = carry
        group = groups[start]
        first = jnp.minimum(start, len(queries) - tile)
        window = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=first, slice_size=tile)
        own = tuple(map(window, state))
        prototype = None if prototypes is None else prototypes[group]
        queue = jnp.minimum(group, queues.shape[0] - 1)
        new = _fold_queue(absorb, own, window(queries), prototype, queues, queue)
        mine = (window(groups) == group) & (window(rows) >= start)
        merged = (
            jnp.where(mine if old.ndim == 1 else mine[:, None], fresh, old)
            for fresh, old in zip(new, own, strict=True)
        )
        state = tuple(
            jax.lax.dynamic_update_slice_in_dim(whole, part, first, axis=0)
            for whole, part in zip(state, merged, strict=True)
        )
        return start + jnp.sum(mine), state

    _, state = jax.lax.while_loop(lambda carry: carry[0] < len(queries), fold_tile, (rows[0], tuple(state)))
    return tuple(jnp.zeros_like(x).at[order].set(x) for x in state)


def _fold_queue(absorb, state, queries, prototype, queues, queue):
    size, dim = queues.shape[1:]
    chunk = min(CHUNK, size)

    def read(state, start, length):
        keys = jax.lax.dynamic_slice(queues, (queue, start, 0), (1, length, dim))[0]
        return absorb(state, queries, prototype, keys)

    starts = jnp.arange(size // chunk) * chunk
    state, _ = jax.lax.scan(lambda state, start: (read(state, start, chunk), None), state, starts)
    if size % chunk:
        state = read(state, size - size % chunk, size % chunk)
    return state


def after(x, first):
    """`x`, which the compiler may not compute before `first`.

    XLA would write keys into the dictionary as soon as it has them, and so copy it, twice, for the loss that
    still reads it. It drops its own barriers before it schedules: a sum is what it must respect.

    Args:
        x: `(B, D)`.
        first: `(B,)`.
    """
    first = jax.lax.stop_gradient(first)
    return x + 0.0 * jnp.where(jnp.isfinite(first), first, 0.0)[:, None]


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


def random_state():
    """Nothing: Keras's variables say where random layers are."""
    return []


def set_random_state(state):
    """Does nothing; see `random_state`."""
