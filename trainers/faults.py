"""What a program says when the machine under it fails while it works. Wrong flags are not here."""

import os
import sys
import traceback

from trainers import workdir

# What the backends' errors say when an allocation fails, and TensorFlow's when the disk is full.
OUT_OF_MEMORY = ("OOM when allocating", "RESOURCE_EXHAUSTED", "out of memory", "can't allocate memory")
NO_SPACE = "No space left on device"
NOT_DECODED = "cannot decode the image"


def explain(error: Exception, processes: int = 1) -> str | None:
    """One line that says what to do about it; None for what is no fault of the machine or of a file.

    Args:
        error: what ended the program.
        processes: how many of this program train together.
    """
    text = str(error)
    first_line = text.splitlines()[0][:120] if text else type(error).__name__
    if isinstance(error, (OSError, FloatingPointError, workdir.DamagedError)):
        return text
    if NO_SPACE in text:
        return f"{first_line}: {NO_SPACE}. Make room; the same command goes on from the last checkpoint"
    if isinstance(error, MemoryError) or any(sign in text for sign in OUT_OF_MEMORY):
        return (
            f"out of memory ({first_line}): lower --batch_size or --image_size, use --mixed_precision, a "
            "smaller --encoder or a smaller --queue_size (the dictionary is classes x queue_size x "
            "projection_dim x 4 bytes)"
        )
    if NOT_DECODED in text:
        return text[text.index(NOT_DECODED) :].splitlines()[0]
    if processes > 1 and type(error).__name__ in ("XlaRuntimeError", "JaxRuntimeError"):
        return (
            f"another of the {processes} processes has ended ({first_line}): start the same command on all "
            "again; they go on from the last checkpoint"
        )
    return None


def end(error: Exception, processes: int = 1):
    """End the program with one line if `explain` has one, else with the traceback."""
    message = explain(error, processes)
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
