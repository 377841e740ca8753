"""The same inputs for all contenders, so that their losses can be compared too."""

import io

import numpy as np
from PIL import Image


def head(batch: int, classes: int, size: int, dim: int) -> dict[str, np.ndarray]:
    """Queries `(B, D)`, keys `(B, D)`, labels `(B,)`, queues `(C, K, D)` and prototypes `(C, D)`."""
    rng = np.random.default_rng(0)
    # Time does not depend on what the keys are, and random ones of the larger sizes take half a minute.
    few = _unit(rng, classes, min(size, 4096), dim)
    return {
        "queries": _unit(rng, batch, dim),
        "keys": _unit(rng, batch, dim),
        "labels": rng.integers(0, classes, batch).astype("int32"),
        "queues": np.tile(few, (1, -(-size // few.shape[1]), 1))[:, :size],
        "prototypes": rng.standard_normal((classes, dim), "float32"),
    }


def faces(count: int, size: int) -> list[bytes]:
    """JPEG files of `size` x `size` pixels: smooth colours and a little noise, as a photograph has."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(count):
        colours = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        pixels = np.asarray(colours.resize((size, size), Image.Resampling.BICUBIC), "float32")
        pixels = np.clip(pixels + rng.normal(0, 4, pixels.shape), 0, 255).astype("uint8")
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=90)
        files.append(file.getvalue())
    return files


def _unit(rng, *shape):
    x = rng.standard_normal(shape, "float32")
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
