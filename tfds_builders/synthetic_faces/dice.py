"""Random numbers that are the same on every machine and with every NumPy.

Only `Generator.random` of PCG64 is used: NumPy promises the bits of PCG64, but not the streams of `normal` or
`choice`. No transcendental functions either, which may differ in the last bit between C libraries.
"""

from collections.abc import Sequence

import numpy as np


class Dice:
    """A stream of random numbers named by integers.

    Args:
        *seed: integers that name the stream; none but the last may be 0, and it must not be either
            (`SeedSequence` pads with zeros, so `(1,)` and `(1, 0)` would be one stream).
    """

    def __init__(self, *seed: int):
        self._random = np.random.Generator(np.random.PCG64(seed)).random

    def uniform(self, low: float, high: float) -> float:
        """Uniform in [low, high)."""
        return low + (high - low) * self._random()

    def bell(self, mean: float, deviation: float) -> float:
        """Sum of three uniforms: bell-shaped, within three standard deviations of the mean."""
        a, b, c = self._random(3).tolist()
        return mean + deviation * 2 * (a + b + c - 1.5)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self._random() < probability

    def pick(self, weights: Sequence[float]) -> int:
        """Index drawn in proportion to the weights."""
        left = self._random() * sum(weights)
        for index, weight in enumerate(weights):
            left -= weight
            if left < 0:
                return index
        return len(weights) - 1

    def noise(self, *shape: int) -> np.ndarray:
        """Triangular noise of the given shape, standard deviation 1."""
        return (self._random(shape, np.float32) - self._random(shape, np.float32)) * np.float32(6**0.5)
