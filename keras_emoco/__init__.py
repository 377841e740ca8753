"""EmoCo in Keras 3: emotion-aware contrastive learning for facial action unit detection.

`EmoCo` is the model, `losses` its equations, `MultiQueueDictionary` its negatives, `MomentumEncoder` its key
encoder's update, `encoders`, `optimizers` and `augment` the paper's recipe. `AUDetector` is what a pretrained
encoder is for, `metrics` its F1, `weights` the way in and out for published weights.
"""

import contextlib
import sys

# TensorFlow shows its LLVM to all that is loaded after it (tensorflow issue 124205), of which the compiler in
# PyTorch's builds for GPUs dies by SIGSEGV. torch.compile and torchvision load it late; loaded first it
# lives. After TensorFlow it is left alone.
if "tensorflow" not in sys.modules:
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401

from keras_emoco import augment, encoders, losses, metrics, optimizers, weights
from keras_emoco.au_detector import AUDetector
from keras_emoco.emoco import EmoCo
from keras_emoco.momentum_encoder import MomentumEncoder
from keras_emoco.multi_queue_dictionary import MultiQueueDictionary

__version__ = "0.1.0"

__all__ = [
    "AUDetector",
    "EmoCo",
    "MomentumEncoder",
    "MultiQueueDictionary",
    "augment",
    "encoders",
    "losses",
    "metrics",
    "optimizers",
    "weights",
]
