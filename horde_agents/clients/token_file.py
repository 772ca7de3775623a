"""A secret that another program renews in a file: read whenever it is needed, never shown."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class TokenFile:
    """``path`` of the file, or none for a server that asks for no token."""

    path: Path | None
    _last: str = field(default="", repr=False)

    def read(self) -> str:
        """The token as it is now, or the last one while the file is empty: it is being written.

        Raises:
            OSError: the file cannot be read.
            ValueError: there is no token in it.
        """
        if self.path is None:
            return ""
        text = self.path.read_text(errors="replace").strip() or self._last
        if not text:
            raise ValueError(f"{self.path} is empty; write the token into it")
        if not text.isascii() or not text.isprintable():
            raise ValueError(f"{self.path} holds more than one line of plain text; write only the token")
        self._last = text
        return text
