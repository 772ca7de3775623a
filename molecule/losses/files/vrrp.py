"""Hear or say VRRP (protocol 112): `hear SECONDS` prints the addresses that said a word; `say ADDRESS` says it there."""

import socket
import sys
import time

_VRRP = 112
_WORD = b"nobody's advertisement"


def main() -> None:
    match sys.argv[1:]:
        case ["hear", seconds]:
            print(*sorted(heard(float(seconds))))
        case ["say", address]:
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, _VRRP) as way:
                way.sendto(_WORD, (address, 0))


def heard(seconds: float) -> set[str]:
    """From whom the word came that the firewall let through."""
    end, sources = time.monotonic() + seconds, set()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, _VRRP) as way:
        way.settimeout(0.2)
        while time.monotonic() < end:
            try:
                packet, (source, _) = way.recvfrom(2048)
            except TimeoutError:
                continue
            if packet.endswith(_WORD):
                sources.add(source)
    return sources


main()
