"""Answers at ports, and tells which ports answer.

    knock.py serve PORT…
    knock.py ask FROM TO PORT…

A port is a number with its protocol, such as 4646/tcp. Who asks, asks from the address FROM.
"""

import selectors
import socket
import sys

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
#: seconds; a port that is closed by a firewall does not answer at all
_PATIENCE_S = 1.0


def serve(ports: list[str]) -> None:
    """Say yes to everybody, until killed."""
    waiting = selectors.DefaultSelector()
    for port in ports:
        number, protocol = port.split("/")
        listener = socket.socket(socket.AF_INET, _KINDS[protocol])
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", int(number)))
        if protocol == "tcp":
            listener.listen()
        waiting.register(listener, selectors.EVENT_READ, protocol)
    while True:
        for key, _ in waiting.select():
            asked = key.fileobj
            assert isinstance(asked, socket.socket)
            if key.data == "tcp":
                with asked.accept()[0] as peer:
                    peer.sendall(b"yes")
            else:
                asked.sendto(b"yes", asked.recvfrom(16)[1])


def answers(sender: str, address: str, port: str) -> bool:
    """Whether somebody says yes there."""
    number, protocol = port.split("/")
    with socket.socket(socket.AF_INET, _KINDS[protocol]) as asking:
        asking.settimeout(_PATIENCE_S)
        asking.bind((sender, 0))
        try:
            asking.connect((address, int(number)))
            if protocol == "udp":
                asking.send(b"?")
            return asking.recv(16) == b"yes"
        except OSError:
            return False


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2:])
    else:
        sender, address, *ports = sys.argv[2:]
        print(" ".join(port for port in ports if answers(sender, address, port)))
