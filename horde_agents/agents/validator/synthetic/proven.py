"""How many executors each coldkey has proven to have, which bounds what excuses may add. Pure.

Without the bound, validators and miners that collude could excuse executors that do not exist: an excuse
shows that a job runs, not that it runs on an executor of its own (docs/economics.md). The price: a horde that
is busy with others' jobs at every one of these instants is excused for fewer executors than it has.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: Where a batch's details keep what was proven, by miner and class.
DETAIL: Final = "proven"


@dataclass(slots=True)
class Proven:
    """The most of one instant by coldkey and class, and what of it is there in the present batch.

    ``most`` is none where there is no earlier batch to compare with; then nothing is bounded.
    """

    coldkey_of: Mapping[str, str]
    most: Mapping[tuple[str, str], int] | None = None
    _there: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def of(cls, coldkey_of: Mapping[str, str], details: Iterable[Mapping[str, Any]]) -> "Proven":
        """From the details of earlier batches; executors may have danced between UIDs of their coldkey."""
        known = [counts for detail in details if (counts := detail.get(DETAIL)) is not None]
        most: Counter[tuple[str, str]] = Counter()
        for counts in known:
            most |= _by_coldkey(counts, coldkey_of)
        return cls(coldkey_of, most if known else None)

    def note(self, miner_hotkey: str, executor_class: str, executors: int = 1) -> None:
        """Executors of the miner are there: they have answered, run an own job, or are excused."""
        self._there[self._key(miner_hotkey, executor_class)] += executors

    def leaves_room(self, miner_hotkey: str, executor_class: str) -> bool:
        """Whether one more may be excused."""
        key = self._key(miner_hotkey, executor_class)
        return self.most is None or self._there[key] < self.most.get(key, 0)

    def _key(self, miner_hotkey: str, executor_class: str) -> tuple[str, str]:
        return self.coldkey_of.get(miner_hotkey, miner_hotkey), executor_class


def _by_coldkey(
    counts: Mapping[str, Mapping[str, int]], coldkey_of: Mapping[str, str]
) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for miner, classes in counts.items():
        for name, executors in classes.items():
            found[coldkey_of.get(miner, miner), name] += executors
    return found
