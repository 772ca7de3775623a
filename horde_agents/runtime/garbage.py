"""Keeps Python's collector of reference cycles out of an agent's way."""

import gc
from typing import Final

#: New objects after which the youngest are searched: about what a few requests at once hold.
_YOUNG_OBJECTS: Final = 5_000


def settle() -> None:
    """Call when all is imported: what is there now is never searched again, and what comes is less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, *gc.get_threshold()[1:])
