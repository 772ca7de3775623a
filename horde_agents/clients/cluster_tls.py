"""TLS to a cluster's servers: certificates that another program renews in their files are taken up."""

import ssl
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class ClusterTrust:
    """Whom we believe, and what we show; without ``ca_file`` the system's authorities are believed."""

    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None
    _context: ssl.SSLContext | None = None
    _read_at_ns: tuple[int, ...] = field(default=())

    def context(self) -> ssl.SSLContext:
        """Always the same one; files that have changed count from the next handshake on.

        While a renewal is half written, what was read before it counts.

        Raises:
            ValueError: they cannot be read; the text names them.
        """
        try:
            self._take_up()
        except OSError as error:  # ssl's own errors are of it, too
            if self._context is None:
                named = ", ".join(map(str, self._files()))
                raise ValueError(f"the certificates cannot be read ({named}): {error}") from error
        assert self._context is not None
        return self._context

    def _take_up(self) -> None:
        changed_ns = tuple(file.stat().st_mtime_ns for file in self._files())
        if self._context is not None and changed_ns == self._read_at_ns:
            return
        context = self._context or ssl.create_default_context(cafile=self.ca_file)
        if self.ca_file is not None:
            context.load_verify_locations(self.ca_file)
        if self.certificate_file is not None:
            context.load_cert_chain(self.certificate_file, self.key_file)
        self._context, self._read_at_ns = context, changed_ns

    def _files(self) -> list[Path]:
        return [file for file in (self.ca_file, self.certificate_file, self.key_file) if file is not None]
