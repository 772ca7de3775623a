"""A small HTTP server in a thread: takes uploads, serves files; what it got is there to look at."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """Bodies by path."""

    url: str
    got: dict[str, bytes] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=lambda: {"/v2/": b"{}"})  # Docker knows a registry by it
    redirects: dict[str, str] = field(default_factory=dict)
    #: Requests with a part ``held`` in their path wait for this, Docker's for an image of that name, too.
    released: threading.Event = field(default_factory=threading.Event)


@contextmanager
def receiving(address: str = "127.0.0.1") -> Iterator[Receiver]:
    """A receiver on a free port of ``address``."""
    receiver = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def _take(self) -> None:
            self._hold()
            length = int(self.headers.get("Content-Length", "0"))
            receiver.got[self.path] = self.rfile.read(length)
            self._answer(200, b"taken")

        do_PUT = do_POST = _take  # noqa: N815

        def do_GET(self) -> None:
            self._hold()
            if self.path in receiver.redirects:
                self.send_response(302)
                self.send_header("Location", receiver.redirects[self.path])
                self.end_headers()
            elif self.path in receiver.served:
                self._answer(200, receiver.served[self.path])
            else:
                self._answer(404, b"")

        do_HEAD = do_GET  # noqa: N815

        def _hold(self) -> None:
            if "held" in self.path.split("/"):
                receiver.released.wait(60)

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # whoever asked may have been killed
                if self.command == "HEAD":
                    return
                self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer((address, 0), Handler)
    receiver.url = f"http://{address}:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
