"""PyTorch. One device: replicas are refused by the trainers."""

import torch

from keras_emoco.backend.common import CHUNK, keep_tensorflow_off_gpus

keep_tensorflow_off_gpus()


def fold_queues(absorb, state, queries, groups, queues, prototypes):
    """See `keras_emoco.losses.negatives_logsumexp`; queries are grouped, each group meets its queue alone."""
    with torch.no_grad():
        queues = _tensor(queues)
        for group in torch.unique(groups).tolist():
            rows = torch.nonzero(groups == group)[:, 0]
            queue = queues[min(group, queues.shape[0] - 1)]
            prototype = None if prototypes is None else prototypes[group]
            own = [part[rows] for part in state]
            for start in range(0, queue.shape[0], CHUNK):
                own = absorb(own, queries[rows], prototype, queue[start : start + CHUNK])
            for part, new in zip(state, own, strict=True):
                part[rows] = new
        return state


def after(x, first):
    """`x` as it is: what stands later in the program reads and writes variables later."""
    return x


def write_rows(variable, indices, rows):
    """`variable[indices] = rows` in place; `indices` is a tuple of `(n,)` integer tensors."""
    with torch.no_grad():
        variable.value[tuple(index.long() for index in indices)] = rows


def moving_average(targets, sources, momentum):
    """`target := momentum * target + (1 - momentum) * source` for all pairs of variables in one call."""
    with torch.no_grad():
        torch._foreach_lerp_(
            [target.value for target in targets], [source.value for source in sources], 1.0 - momentum
        )


def gather_replicas(x):
    """The batch as it is: one device."""
    return x


def scale_loss(loss):
    """The loss as it is: one device."""
    return loss


def train_step(model, step, data):
    """One optimiser step, then the momentum update of the model."""
    return model.finish_step(step(data))


def random_state():
    """uint8 arrays, of the CPU and of each GPU: Dropout without a seed draws from PyTorch's generators."""
    return [state.numpy() for state in (torch.get_rng_state(), *torch.cuda.get_rng_state_all())]


def set_random_state(state):
    """Undo all draws since `random_state` gave `state`."""
    if state:
        torch.set_rng_state(torch.from_numpy(state[0]))
    for number, array in enumerate(state[1 : 1 + torch.cuda.device_count()]):
        torch.cuda.set_rng_state(torch.from_numpy(array), number)


def _tensor(x):
    return x.value if hasattr(x, "value") else x
