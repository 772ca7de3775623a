"""A secret that another program renews in a file: read when the file changes, never shown."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class TokenFile:
    """``path`` of the file, or none for a server that asks for no token."""

    path: Path | None
    _text: str = field(default="", repr=False)
    _changed_ns: int = 0

    def read(self) -> str:
        """The token as it is now; empty without a file.

        Raises:
            OSError: the file cannot be read.
        """
        if self.path is None:
            return ""
        changed_ns = self.path.stat().st_mtime_ns
        if changed_ns != self._changed_ns:
            self._text, self._changed_ns = self.path.read_text().strip(), changed_ns
        return self._text
