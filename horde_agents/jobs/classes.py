"""The executor classes: what each needs and how long its executor may take to start.

The five rows here are those that stock peers know (wire note F.6). A class catalogue with device
constraints and weights replaces this table once executors are scheduled by Nomad.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ExecutorClass:
    """One kind of hardware; ``wire_class`` is the name stock peers know it by."""

    name: str
    wire_class: str | None
    needs_gpu: bool
    spin_up_s: int
    short_code: str


_ROWS: Final = (
    ExecutorClass(
        "spin_up-4min.gpu-24gb", "spin_up-4min.gpu-24gb", needs_gpu=True, spin_up_s=240, short_code="S"
    ),
    ExecutorClass("always_on.gpu-24gb", "always_on.gpu-24gb", needs_gpu=True, spin_up_s=3, short_code="A"),
    ExecutorClass("always_on.llm.a6000", "always_on.llm.a6000", needs_gpu=True, spin_up_s=30, short_code="L"),
    ExecutorClass("always_on.test", "always_on.test", needs_gpu=False, spin_up_s=3, short_code="T"),
    ExecutorClass(
        "always_on.cpu.8c.16gb", "always_on.cpu.8c.16gb", needs_gpu=False, spin_up_s=30, short_code="C"
    ),
)
CATALOGUE: Final[Mapping[str, ExecutorClass]] = {row.name: row for row in _ROWS}
WIRE_CLASSES: Final = frozenset(row.wire_class for row in _ROWS if row.wire_class)
#: The class a request means when it names none (wire note A.4.5).
DEFAULT_CLASS: Final = "spin_up-4min.gpu-24gb"
