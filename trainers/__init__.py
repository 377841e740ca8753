"""Command-line programs: `python -m trainers.pretrain --help`, `python -m trainers.evaluate --help`."""

import contextlib
import os
import sys

# TensorFlow's notes on the processor and on absent GPUs would bury the progress bar.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Before TensorFlow, as in `keras_emoco`; programs load TensorFlow first.
if "tensorflow" not in sys.modules:
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401
