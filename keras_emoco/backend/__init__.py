"""What differs by Keras backend, and nothing else: the same few functions in three files.

The rest of the library imports `backend` and never a backend of its own:

- `fold_queues`: run the head's arithmetic over each query's own queue.
- `after`: keep the order of reading and writing where a compiler would not.
- `write_rows`: put rows into a variable in place.
- `moving_average`: move all key weights at once.
- `gather_replicas`, `scale_loss`: what replicas exchange.
- `train_step`: one optimiser step followed by the momentum update.
- `random_state`, `set_random_state`: what random layers draw from beside Keras's variables.
"""

import keras

if keras.backend.backend() == "tensorflow":
    from keras_emoco.backend.tensorflow import (
        after,
        fold_queues,
        gather_replicas,
        moving_average,
        random_state,
        scale_loss,
        set_random_state,
        train_step,
        write_rows,
    )
elif keras.backend.backend() == "jax":
    from keras_emoco.backend.jax import (
        after,
        fold_queues,
        gather_replicas,
        moving_average,
        random_state,
        scale_loss,
        set_random_state,
        train_step,
        write_rows,
    )
elif keras.backend.backend() == "torch":
    from keras_emoco.backend.torch import (
        after,
        fold_queues,
        gather_replicas,
        moving_average,
        random_state,
        scale_loss,
        set_random_state,
        train_step,
        write_rows,
    )
else:
    raise ImportError(
        f"keras_emoco runs on the Keras backends tensorflow, jax and torch; got "
        f"{keras.backend.backend()!r}: set KERAS_BACKEND to one of them before Keras is imported"
    )

__all__ = [
    "after",
    "fold_queues",
    "gather_replicas",
    "moving_average",
    "random_state",
    "scale_loss",
    "set_random_state",
    "train_step",
    "write_rows",
]
