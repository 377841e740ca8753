"""SIGTERM, the notice of a machine about to be taken away: noted at once, obeyed between two steps."""

import contextlib
import itertools
import os
import signal
from collections.abc import Callable, Iterator

EXIT_CODE = os.EX_TEMPFAIL
"""75, "temporary failure": nothing is wrong, and the same command goes on."""


@contextlib.contextmanager
def noted(processes: int = 1) -> Iterator[Callable[[], bool]]:
    """Within the block SIGTERM does not kill; yields a function that says whether to stop for it.

    Args:
        processes: how many train together. Each asks once after each step; all are told to stop after the
            same one, wherever the signal came.
    """
    if processes > 1:
        from jax.experimental import multihost_utils

        # JAX took the signal over when it started. Until it comes, to ask costs no word to the others.
        calls = itertools.count()
        yield lambda: multihost_utils.reached_preemption_sync_point(next(calls))
        return
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        # None is a handler that Python did not set.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
