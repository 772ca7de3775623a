"""The chain's storage: SCALE bytes by key, with enough history for reads at earlier blocks."""

import bisect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from bittensor_core import Runtime

#: Blocks whose state can still be read; older values of a key are dropped when it changes.
KEPT_BLOCKS: Final = 4096


@dataclass(slots=True)
class Storage:
    """Values by (pallet, item, parameters); a write belongs to the block being built.

    ``begin`` and ``undo`` bracket one extrinsic, so that a failed one leaves nothing.
    """

    runtime: Runtime
    block_number: int = 0
    _history: dict[bytes, list[tuple[int, bytes | None]]] = field(default_factory=dict)
    _keys: list[bytes] = field(default_factory=list)
    _entries: dict[tuple[str, str], Any] = field(default_factory=dict)
    _as_of: int | None = None
    _before: dict[bytes, bytes | None] = field(default_factory=dict)

    def get(self, pallet: str, item: str, *params: object) -> Any:  # noqa: ANN401  (whatever the item holds)
        """The decoded value, or the item's default."""
        entry = self._entry(pallet, item)
        raw = self.raw(self.key(pallet, item, *params))
        if raw is not None:
            return self.runtime.decode(entry.value_type, raw)
        return (
            None
            if entry.modifier == "Optional"
            else self.runtime.decode(entry.value_type, entry.default_bytes, False)
        )

    def put(self, pallet: str, item: str, params: Sequence[object], value: object) -> None:
        """Write a value; ``None`` removes it."""
        raw = (
            None if value is None else bytes(self.runtime.encode(self._entry(pallet, item).value_type, value))
        )
        self._put_raw(self.key(pallet, item, *params), raw)

    def key(self, pallet: str, item: str, *params: object) -> bytes:
        """The storage key."""
        return bytes(self.runtime.storage_key(pallet, item, list(params)))

    def raw(self, key: bytes, at_block: int | None = None) -> bytes | None:
        """The bytes at a key, now or as of ``at_block``."""
        history = self._history.get(key)
        if not history:
            return None
        at_block = self._as_of if at_block is None else at_block
        if at_block is None:
            return history[-1][1]
        index = bisect.bisect_right(history, at_block, key=lambda version: version[0]) - 1
        return history[index][1] if index >= 0 else None

    @contextmanager
    def as_of(self, number: int) -> Iterator[None]:
        """Within the block everything reads as it did at block ``number``; nothing may be written."""
        head = self.block_number
        if number != head:
            self._as_of = self.block_number = number
        try:
            yield
        finally:
            self._as_of, self.block_number = None, head

    def keys(self, prefix: bytes, after: bytes | None = None) -> Iterator[bytes]:
        """Every key that was ever written below ``prefix``, in order, behind ``after``."""
        start = bisect.bisect_right(self._keys, after) if after else bisect.bisect_left(self._keys, prefix)
        for index in range(start, len(self._keys)):
            if not self._keys[index].startswith(prefix):
                return
            yield self._keys[index]

    def begin(self) -> None:
        """Remember from here on what is overwritten."""
        self._before = {}

    def undo(self) -> None:
        """Take back every write since ``begin``."""
        overwritten, self._before = self._before, {}
        for key, raw in overwritten.items():
            self._put_raw(key, raw)

    def _put_raw(self, key: bytes, raw: bytes | None) -> None:
        history = self._history.get(key)
        if history is None:
            history = self._history[key] = []
            bisect.insort(self._keys, key)
        self._before.setdefault(key, history[-1][1] if history else None)
        if history and history[-1][0] == self.block_number:
            history[-1] = (self.block_number, raw)
        else:
            history.append((self.block_number, raw))
        if len(history) > 2 and history[1][0] < self.block_number - KEPT_BLOCKS:
            del history[0]

    def _entry(self, pallet: str, item: str) -> Any:  # noqa: ANN401  (the SDK's own record)
        name = (pallet, item)
        if name not in self._entries:
            self._entries[name] = self.runtime.storage_entry(pallet, item)
        return self._entries[name]
