"""What a program says when the machine under it fails while it works. Wrong flags are not here."""

import os
import re
import sys
import traceback
from collections.abc import Sequence

import tensorflow as tf
import tensorflow_datasets as tfds

from trainers import data, workdir

# What the backends' errors say when an allocation fails, and JAX's when another process is gone.
OUT_OF_MEMORY = ("OOM when allocating", "RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory")
PROCESS_GONE = ("Gloo ", "NCCL ", "oordination service", "Connection closed by peer", "heartbeat")
SERVICE_GONE = ("dispatcher", "data service")
NOT_DECODED = "cannot decode the image"
# A file is damaged, missing, or has too few examples.
UNREADABLE = (tf.errors.DataLossError, tf.errors.NotFoundError, tf.errors.FailedPreconditionError)


def explain(
    error: Exception, processes: int = 1, builders: Sequence[tfds.core.DatasetBuilder] = ()
) -> str | None:
    """One line that says what to do about it; None for what is no fault of the machine or of a file.

    Args:
        error: what ended the program.
        processes: how many of this program train together.
        builders: the data sets that were read.
    """
    text = str(error)
    # TensorFlow begins with the operation, `{{function_node ...}}`.
    first_line = re.sub(r"{{.*?}} ?", "", text).partition("\n")[0][:120] or type(error).__name__
    if isinstance(error, (OSError, FloatingPointError, workdir.DamagedError)):
        return text
    if data.NO_SPACE in text:
        what = first_line if data.NO_SPACE in first_line else f"{first_line}: {data.NO_SPACE}"
        return f"{what}. Make room; the same command goes on from the last checkpoint"
    if isinstance(error, tf.errors.OpError) and any(sign in text for sign in SERVICE_GONE):
        return (
            f"a host of --data_service has ended or was started again ({first_line}): start "
            "trainers.data_service there; the same command goes on from the last checkpoint"
        )
    if isinstance(error, UNREADABLE):
        damaged = [(data.damage(builder), builder) for builder in builders]
        for found, builder in damaged:
            if found:
                return f"{found}: remove {builder.data_path} to have the data set built again"
    if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY):
        return (
            f"out of memory ({first_line}): lower --batch_size or --image_size, use --mixed_precision, a "
            "smaller --encoder or a smaller --queue_size (the dictionary is classes x queue_size x "
            "projection_dim x 4 bytes)"
        )
    if NOT_DECODED in text:
        return text[text.index(NOT_DECODED) :].splitlines()[0]
    if processes > 1 and _process_gone(error):
        return (
            f"another of the {processes} processes has ended ({first_line}): start the same command on all "
            "again; they go on from the last checkpoint"
        )
    return None


def _process_gone(error):
    # JAX raises a ValueError, too, where a value is read that the others were to compute.
    return type(error).__name__ in ("XlaRuntimeError", "JaxRuntimeError") or any(
        sign in str(error) for sign in PROCESS_GONE
    )


def end(
    error: Exception,
    processes: int = 1,
    builders: Sequence[tfds.core.DatasetBuilder] = (),
    refused: bool = False,
):
    """End the program with one line if `explain` has one, else with the traceback.

    Args:
        error: what ended the program.
        processes: how many of this program train together.
        builders: the data sets that were read.
        refused: what was asked for cannot be done, as the error says in all processes.
    """
    if refused and not (processes > 1 and _process_gone(error)):
        sys.exit(f"error: {error}")
    message = explain(error, processes, builders)
    if processes == 1:
        if message is None:
            raise error
        sys.exit(f"error: {message}")
    if message is None:
        traceback.print_exception(error)
        message = "see above"
    # Not `sys.exit`: at exit JAX waits for the other processes, and one of them may be dead.
    print(f"error: {message}", file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(1)
