"""Clips a row to the largest share that a subnet allows one UID, as the SDK does but in exact numbers.

A row that is clipped already is left alone by the SDK and by the chain, so that it can be compared.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

U16: Final = 65_535


def clipped(values: Sequence[int], limit: int) -> tuple[int, ...]:
    """Values whose largest is 65,535 and has at most ``limit`` / 65,535 of their sum.

    What is above the cut is cut, all else keeps its proportion. Where no row can keep to the limit,
    since it has too few UIDs, all get the same.
    """
    share, many = Fraction(limit, U16), len(values)
    if max(values, default=0) <= share * sum(values):
        return tuple(values)
    if many * share <= 1:
        return (U16,) * many
    top = _cut(sorted(values, reverse=True), share)
    # rounded up, so that the largest has no larger share than before
    return tuple(U16 if value >= top else -int(-value * U16 / top // 1) for value in values)


def _cut(descending: Sequence[int], share: Fraction) -> Fraction:
    """The value to which all above it are cut: then it is just ``share`` of the sum."""
    rest = sum(descending)
    for cut, value in enumerate(descending):
        top = share * rest / (1 - cut * share) if cut * share < 1 else Fraction(value)
        if cut and top >= value:
            return top
        rest -= value
    return Fraction(descending[-1])
