"""SIGTERM, the notice of a machine about to be taken away: noted at once, obeyed between two steps."""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

EXIT_CODE = os.EX_TEMPFAIL
"""75, "temporary failure": nothing is wrong, and the same command goes on."""


@contextlib.contextmanager
def noted() -> Iterator[Callable[[], bool]]:
    """Within the block SIGTERM does not kill; yields a function that says whether it came."""
    came = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        # None is a handler that Python did not set: JAX's, for several processes.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
