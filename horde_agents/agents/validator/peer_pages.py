"""The receipt pages of one peer: which to read next, and what has been read of each.

The current and the previous page are read on every visit, older ones newest first as time is left.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from horde_agents.receipts.pages import PAGE_S

#: Older pages that one visit reads at most.
_OLD_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True)
class Peer:
    """A peer that publishes receipts, and where."""

    hotkey: str
    host: str
    port: int
    is_validator: bool = False

    def url(self, page: int, *, is_progress: bool) -> str:
        """Where a page is."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        folder = "receipts/progress" if is_progress else "receipts"
        return f"http://{host}:{self.port}/{folder}/{page}.jsonl"


@dataclass(slots=True)
class PageBook:
    """One kind of a peer's pages; ``cursors`` are bytes read, by page.

    A page of ``page_bytes`` or more is not read on: nobody has so many jobs.
    """

    name: str
    is_progress: bool
    page_bytes: int
    catch_up_s: float
    cursors: dict[int, int] = field(default_factory=dict)
    _behind: dict[int, None] = field(default_factory=dict)
    _newest: int | None = None

    @classmethod
    def of(
        cls, peer: Peer, cursors: Mapping[int, int], page_bytes: int, catch_up_s: float, *, is_progress: bool
    ) -> "PageBook":
        """The book with the cursors as stored."""
        return cls(
            cursor_name(peer, is_progress=is_progress), is_progress, page_bytes, catch_up_s, dict(cursors)
        )

    def due(self, now_s: float) -> Iterator[int]:
        """The pages to read now."""
        current = int(now_s // PAGE_S)
        reach = current - 2 - int(self.catch_up_s // PAGE_S)
        # what has left the window since the last visit gets a last look
        seen = reach if self._newest is None else max(self._newest - 2, reach)
        self._behind = dict.fromkeys([*range(current - 2, seen, -1), *self._behind])
        self._newest = max(current, self._newest or 0)
        yield from (page for page in (current, current - 1) if self.wants(page))
        for page in list(self._behind)[:_OLD_AT_ONCE]:
            if self.wants(page):
                yield page
            else:
                self._behind.pop(page, None)

    def wants(self, page: int) -> bool:
        """Whether the page may be read on."""
        return self.cursors.get(page, 0) < self.page_bytes

    def read(self, page: int, cursor: int, *, is_all: bool) -> None:
        """A page was read up to ``cursor``."""
        if cursor:
            self.cursors[page] = cursor
        if is_all:
            self._behind.pop(page, None)
        elif self._newest is not None and page < self._newest - 1:
            self._behind[page] = None

    def forget(self, before_page: int) -> None:
        """Drop what is out of reach."""
        for page in [page for page in self.cursors if page < before_page]:
            del self.cursors[page]


def cursor_name(peer: Peer, *, is_progress: bool) -> str:
    """Under which name the cursors of one kind of pages are kept."""
    if peer.is_validator:
        return f"{peer.hotkey}/validator"
    return f"{peer.hotkey}/progress" if is_progress else peer.hotkey
