"""How long to wait before trying again."""

from collections.abc import Iterator
from random import Random


def delays_s(first_s: float, cap_s: float, rng: Random) -> Iterator[float]:
    """Doubling waits from ``first_s`` up to ``cap_s``, each shortened by up to half at random."""
    delay_s = first_s
    while True:
        yield delay_s * (0.5 + rng.random() / 2)
        delay_s = min(delay_s * 2, cap_s)
