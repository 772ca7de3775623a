"""Hear or say something by VRRP, protocol 112.

vrrp.py hear SECONDS    print the address of whoever said it, once for each time
vrrp.py say ADDRESS     say it there
"""

import socket
import sys
import time

_VRRP = 112
_WORD = b"nobody's advertisement"


def main() -> None:
    match sys.argv[1:]:
        case ["hear", seconds]:
            print(*heard(float(seconds)))
        case ["say", address]:
            with socket.socket(socket.AF_INET, socket.SOCK_RAW, _VRRP) as way:
                way.sendto(_WORD, (address, 0))
        case _:
            sys.exit(__doc__)


def heard(seconds: float) -> list[str]:
    """From whom the word came that the firewall let through."""
    end, sources = time.monotonic() + seconds, list[str]()
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, _VRRP) as way:
        way.settimeout(0.2)
        while time.monotonic() < end:
            try:
                packet, (source, _) = way.recvfrom(2048)
            except TimeoutError:
                continue
            if packet.endswith(_WORD):
                sources.append(source)
    return sources


main()
