"""Writes numbers to Consul through the machine's own agent, until it is stopped.

Notes the last that was confirmed.

    python3 writer.py NAME [--once]

Owns what a client of the cluster sees while servers are lost and secrets change: ``writer.json`` beside it
has the last number confirmed and the longest time in seconds without one.
"""

import json
import ssl
import sys
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

PLACE = Path(__file__).parent
TLS = Path("/etc/consul.d/tls")


def fresh_context(last: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """With the certificates of now.

    The last one while key and certificate do not fit, as one of them comes after the other.
    """
    try:
        context = ssl.create_default_context(cafile=str(TLS / "ca.pem"))
        context.load_cert_chain(TLS / "cert.pem", TLS / "key.pem")
    except OSError:  # ssl's errors are among them
        return last
    return context


def write(name: str, number: int, context: ssl.SSLContext | None) -> bool:
    """Whether Consul confirmed it."""
    try:
        request = urllib.request.Request(
            f"https://127.0.0.1:8501/v1/kv/writer/{name}",
            data=str(number).encode(),
            method="PUT",
            headers={"X-Consul-Token": (PLACE / "writer.token").read_text()},
        )
        with urllib.request.urlopen(request, context=context, timeout=5) as answer:
            return bool(answer.read().strip() == b"true")
    except (OSError, ValueError, HTTPException):
        return False


def main(name: str) -> None:
    """Write for ever, on from what was noted before the machine was lost."""
    noted = PLACE / "writer.json"
    before: dict[str, Any] = (
        json.loads(noted.read_text()) if noted.exists() else {"number": 0, "longest_s": 0.0}
    )
    number, longest_s, confirmed_at_s = before["number"], before["longest_s"], time.monotonic()
    context = None
    while True:
        context = fresh_context(context)
        if write(name, number + 1, context):
            number += 1
            longest_s = max(longest_s, time.monotonic() - confirmed_at_s)
            confirmed_at_s = time.monotonic()
            half = PLACE / "writer.half"
            half.write_text(json.dumps({"number": number, "longest_s": round(longest_s, 1)}))
            half.replace(noted)
        time.sleep(0.2)


if __name__ == "__main__":
    if "--once" in sys.argv:
        sys.exit(0 if write(sys.argv[1], 1, fresh_context(None)) else 1)
    main(sys.argv[1])
