"""Asks facilitators through the ingress, as users and validators do: standard library only.

    python3 through.py ADDRESS CERTIFICATE CONTAINER OF THE FIRST FACILITATOR

Ends the first facilitator in the middle and looks who answers then. What is not as it has to be is a
sentence, with status 1.
"""

import base64
import http.client
import os
import socket
import ssl
import subprocess
import sys
import time

NAME = "horde.example"
_PATIENCE_S = 30.0


class Through:
    """One way to the ingress; the name is that of its certificate."""

    def __init__(self, address: str, certificate: str) -> None:
        self.address = address
        self.context = ssl.create_default_context(cafile=certificate)

    def socket(self) -> ssl.SSLSocket:
        bare = socket.create_connection((self.address, 443), timeout=_PATIENCE_S)
        return self.context.wrap_socket(bare, server_hostname=NAME)

    def ask(self, path: str, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(NAME)
        connection.sock = self.socket()
        connection.request("GET", path, headers={"Host": NAME, **headers})
        answer = connection.getresponse()
        said = answer.status, answer.read()
        connection.close()
        return said

    def announce(self, path: str, size: int) -> int:
        """Say that a body of ``size`` comes, and do not send it."""
        connection = http.client.HTTPSConnection(NAME)
        connection.sock = self.socket()
        connection.putrequest("POST", path, skip_host=True)
        connection.putheader("Host", NAME)
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        return connection.getresponse().status

    def web_socket(self) -> ssl.SSLSocket:
        """A validator's, up to the upgrade."""
        opened = self.socket()
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET /ws/v0/ HTTP/1.1",
            f"Host: {NAME}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key}",
        ]
        opened.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        said = opened.recv(4096).split(b"\r\n")[0]
        expect(b" 101 " in said, f"a WebSocket was answered with {said!r}")
        return opened


def expect(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise SystemExit(f"{otherwise}.")


def main(address: str, certificate: str, first: str) -> None:
    way = Through(address, certificate)
    status, _ = way.ask("/auth/nonce")
    expect(status == 200, f"a request was answered with {status}")
    plain = http.client.HTTPConnection(address, 80, timeout=_PATIENCE_S)
    plain.request("GET", "/auth/nonce", headers={"Host": NAME})
    expect(plain.getresponse().status == 301, "plain HTTP is not sent to HTTPS")
    other = way.ask("/auth/nonce", Host="stranger.example")[0]
    expect(other == 421, f"a stranger's name was answered with {other}")
    large = way.announce("/auth/login", 3 * 1024 * 1024)
    expect(large == 413, f"a body of 3 MiB was answered with {large}")

    # the facilitator counts refusals by address; whoever gives himself another in the header would not be
    # slowed down
    said = [way.ask("/api/v1/jobs/", **{"X-Forwarded-For": f"203.0.113.{nth}"})[0] for nth in range(12)]
    expect(said[0] == 401 and said[-1] == 429, f"forged addresses got {said}")

    held = way.web_socket()
    subprocess.run(["docker", "kill", first], check=True, capture_output=True)
    began = time.monotonic()
    while True:
        # where a connection ended before its answer HAProxy says nothing, for the client may ask again
        try:
            outcome: object = way.ask("/auth/nonce")
        except OSError as error:
            outcome = error
        if isinstance(outcome, tuple) and outcome[0] == 200:
            break
        expect(
            time.monotonic() - began < _PATIENCE_S,
            f"{_PATIENCE_S:.0f} s after the first was killed: {outcome!r}",
        )
        time.sleep(0.2)
    print(f"the second answered {time.monotonic() - began:.1f} s after the first was killed")
    held.settimeout(_PATIENCE_S)
    try:
        rest = held.recv(4096)
        while rest:
            rest = held.recv(4096)
    except (ConnectionError, ssl.SSLError):
        pass  # ended without a word, as killed programs do
    way.web_socket().close()

    # when the first is back, it has all again
    back = way.web_socket()
    subprocess.run(["docker", "start", first], check=True, capture_output=True)
    back.settimeout(_PATIENCE_S * 2)
    try:
        while back.recv(4096):
            pass
    except (ConnectionError, ssl.SSLError):
        pass
    expect(way.ask("/auth/nonce")[0] == 200, "nobody answers after the first came back")

    many = []
    try:
        for _ in range(30):
            many.append(way.socket())  # noqa: PERF401  (those before the one that is refused count)
        expect(False, "30 connections of one address were let in, and 20 are allowed")
    except (ConnectionError, ssl.SSLError, TimeoutError):
        expect(len(many) <= 20, f"{len(many)} connections of one address were let in, and 20 are allowed")


if __name__ == "__main__":
    main(*sys.argv[1:])
