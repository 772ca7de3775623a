"""Asks Prometheus something until it says what it has to.

Standard library only, on a machine with its certificates.

    python3 ask.py ADDRESS SECONDS EXPRESSION …

Each expression has to have a value; those that have none within the seconds are printed, with status 1.
"""

import json
import ssl
import sys
import time
import urllib.parse
import urllib.request

FOLDER = "/etc/horde-monitoring"


def main(address: str, seconds: str, *wanted: str) -> int:
    context = ssl.create_default_context(cafile=f"{FOLDER}/ca.pem")
    context.load_cert_chain(f"{FOLDER}/cert.pem", f"{FOLDER}/key.pem")

    def has_value(expression: str) -> bool:
        words = urllib.parse.urlencode({"query": expression})
        url = f"https://{address}:9099/api/v1/query?{words}"
        with urllib.request.urlopen(url, context=context, timeout=20) as answer:
            return bool(json.load(answer)["data"]["result"])

    end = time.monotonic() + float(seconds)
    missing = list(wanted)
    while missing := [expression for expression in missing if not has_value(expression)]:
        if time.monotonic() > end:
            print("\n".join(missing))
            return 1
        time.sleep(2)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
