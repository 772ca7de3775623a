"""A bounded memory of what signers have said: one that signs without end forgets its own, nobody else's."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Entry = TypeVar("Entry")


@dataclass(slots=True)
class SignerBooks(Generic[Entry]):
    """``most`` entries at most, by signer and the uuid of a job.

    When they are full the signer with the most entries loses its oldest: a signer with less than an equal
    part never loses any.
    """

    most: int
    _books: dict[str, dict[str, Entry]] = field(default_factory=lambda: defaultdict(dict))
    _entries: int = 0

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key[1] in self._books.get(key[0], ())

    def get(self, key: tuple[str, str]) -> Entry | None:
        """The entry, if it is remembered."""
        return self._books.get(key[0], {}).get(key[1])

    def put(self, key: tuple[str, str], entry: Entry) -> tuple[tuple[str, str], Entry] | None:
        """Remember an entry, in its old place if there is one; what is forgotten instead."""
        book = self._books[key[0]]
        self._entries += key[1] not in book
        book[key[1]] = entry
        return self._forget_one() if self._entries > self.most else None

    def pop(self, key: tuple[str, str]) -> Entry | None:
        """Forget an entry."""
        book = self._books.get(key[0], {})
        if key[1] not in book:
            return None
        entry = book.pop(key[1])
        self._entries -= 1
        if not book:
            del self._books[key[0]]
        return entry

    def _forget_one(self) -> tuple[tuple[str, str], Entry] | None:
        signer = max(self._books, key=lambda name: len(self._books[name]))
        key = (signer, next(iter(self._books[signer])))
        entry = self.pop(key)
        return None if entry is None else (key, entry)
