"""What the API reads from: the store, and what other parts of the validator say; each may be absent."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from typing import Any

from horde_agents.agents.validator.directory import Directory
from horde_agents.runtime.health import Check
from horde_agents.scoring.configuration import Configuration
from horde_agents.store.engine import Store


class Reader(StrEnum):
    """Who asks: this validator's operator, a hotkey that signed and may read, or whoever came."""

    OPERATOR = "operator"
    SIGNED = "signed"
    ANYONE = "anyone"


@dataclass(frozen=True, slots=True)
class BlockSpan:
    """Blocks ``first_block..last_block`` of a cycle: all of it, or a validator's seat in it."""

    cycle: int
    first_block: int
    last_block: int


@dataclass(slots=True)
class Sources:
    """Everything the endpoints may ask; ``None`` stands for what is not known now.

    ``next_seat`` is where the next batch may fire: what all validators compute alike, never its instant.
    """

    store: Store
    hotkey: str
    directory: Directory
    manifest_stale_s: float = 900.0
    block_number: Callable[[], int | None] = lambda: None
    cycle: Callable[[], BlockSpan | None] = lambda: None
    seat: Callable[[], BlockSpan | None] = lambda: None
    next_seat: Callable[[], BlockSpan | None] = lambda: None
    why_no_batch: Callable[[], str] = lambda: "this validator follows no chain, so it has no cycles"
    links: Callable[[], Mapping[str, str | None]] = dict
    checks: Mapping[str, Check] = field(default_factory=dict)
    configuration: Callable[[], Configuration] = Configuration
    fair_shares: Callable[[Mapping[str, int], Configuration], Mapping[str, Fraction]] | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One request that may be answered, with its parameters read."""

    reader: Reader
    values: Mapping[str, Any]
