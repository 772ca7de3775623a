"""Where the horde's miners are, known to a holder and to every executor that it forks.

An executor is sent on to another miner and ends after its job; the next one has to know. The book is
one page of memory that a holder shares with its executors, of which one lives at a time.
"""

import json
import mmap
from collections.abc import Sequence
from typing import Final

#: Room for as many addresses as there may be, each as long as it may be.
_PAGE_BYTES: Final = 128 * 1024
#: Addresses kept at most; a horde has at most 256 UIDs.
_MOST: Final = 256


class AddressBook:
    """Addresses of miners, the one to ask first in front; ``epoch`` is the placement it was sent on by."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._page = mmap.mmap(-1, _PAGE_BYTES)
        self._write(list(addresses), 0)

    def addresses(self) -> list[str]:
        """All of them, in the order in which to ask."""
        return self._read()[0]

    @property
    def epoch(self) -> int:
        """The epoch of the slot's placement when it was last sent on; 0 before that."""
        return self._read()[1]

    def go_to(self, address: str, epoch: int) -> None:
        """Ask ``address`` first from now on."""
        known = self.addresses()
        self._write([address, *(other for other in known if other != address)], epoch)

    def learn(self, addresses: Sequence[str]) -> None:
        """Replace all but the first by ``addresses``: a miner's newest word on who is there."""
        if addresses:
            first, epoch = self.addresses()[0], self.epoch
            self._write([first, *(other for other in addresses if other != first)], epoch)

    def pass_over(self) -> None:
        """The first did not answer: ask it last."""
        first, *others = self.addresses()
        self._write([*others, first], self.epoch)

    def _read(self) -> tuple[list[str], int]:
        length = int.from_bytes(self._page[:4], "big")
        addresses, epoch = json.loads(self._page[4 : 4 + length])
        return addresses, epoch

    def _write(self, addresses: list[str], epoch: int) -> None:
        text = json.dumps([addresses[:_MOST], epoch]).encode()
        self._page[: 4 + len(text)] = len(text).to_bytes(4, "big") + text
