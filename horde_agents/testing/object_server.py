"""A real S3 server (versitygw over a folder) on a loopback port, for the demo and for tests."""

import secrets
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from horde_agents.testing.server_process import ServerNotUp, ServerProcess, free_ports

_READY_S: Final = 30.0


@dataclass(slots=True)
class ObjectServer:
    """One server whose only user is its root; its objects are files below ``folder``.

    With ``tls``, the files of a certificate and its key, it speaks HTTPS.
    """

    program: Path
    folder: Path
    region: str = "us-east-1"
    port: int = 0
    access_key_id: str = "horde"
    secret_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    tls: tuple[Path, Path] | None = None
    process: ServerProcess = field(init=False, repr=False)

    def __post_init__(self) -> None:
        data = self.folder / "objects"
        data.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_ports(1)[0]
        words = [str(self.program), "--port", f"127.0.0.1:{self.port}", "--region", self.region]
        # in the environment, because everyone on this machine may read a command line
        env = {"ROOT_ACCESS_KEY": self.access_key_id, "ROOT_SECRET_KEY": self.secret_key}
        if self.tls:
            words += ["--cert", str(self.tls[0]), "--key", str(self.tls[1])]
        words += ["posix", str(data)]
        self.process = ServerProcess(words, self.folder / "versitygw.log", env)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it is not ready yet."""
        self.process.start()

    def wait_ready(self) -> None:
        """Wait until it takes connections.

        Raises:
            ServerNotUp: it ended, or was not ready in time.
        """
        deadline_s = time.monotonic() + _READY_S
        while not self._listens():
            self.process.check_runs()
            if time.monotonic() > deadline_s:
                raise ServerNotUp(f"versitygw is not ready after {_READY_S:.0f} s; see {self.process.log}")
            time.sleep(0.05)

    def _listens(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False
