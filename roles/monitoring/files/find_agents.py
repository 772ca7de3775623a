#!/usr/bin/python3
"""Tells this machine's collector which agents run here, as its Consul says: standard library only.

    horde-find-agents FOLDER FILE SECONDS

Reads certificates and the token in FOLDER, and writes FILE as Prometheus's file_sd has it, again whenever
that changes. While Consul does not answer, FILE stays as it was, so that agents go on being read. Debian's
Prometheus comes without its own search in Consul.
"""

import json
import ssl
import sys
import time
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import Any

_URL = "https://127.0.0.1:8501/v1/agent/services"
_WAIT_S = 10.0


def targets(services: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The operators' listener of each agent, with what Nomad says of it."""
    found = []
    for one in services.values():
        meta = one.get("Meta") or {}
        if "horde" not in (one.get("Tags") or []) or not meta.get("operator_addr"):
            continue
        labels = {
            "agent": meta.get("nomad_job", ""),
            "service": one["Service"],
            "version": meta.get("version", ""),
        }
        found.append({"targets": [meta["operator_addr"]], "labels": labels})
    return sorted(found, key=lambda target: (target["labels"]["agent"], target["targets"]))


def ask(folder: Path) -> dict[str, dict[str, Any]]:
    """What this machine's Consul has; raises OSError, ValueError or HTTPException where it does not say."""
    context = ssl.create_default_context(cafile=str(folder / "consul-ca.pem"))
    context.load_cert_chain(folder / "consul-cert.pem", folder / "consul-key.pem")
    token = (folder / "consul").read_text().strip()
    request = urllib.request.Request(_URL, headers={"X-Consul-Token": token})
    with urllib.request.urlopen(request, context=context, timeout=_WAIT_S) as answer:
        said: dict[str, dict[str, Any]] = json.load(answer)
    return said


def main(folder: str, file: str, seconds: str) -> None:
    """For ever."""
    place, trouble = Path(file), ""
    while True:
        try:
            text = json.dumps(targets(ask(Path(folder))), indent=1)
            if not place.exists() or place.read_text() != text:
                arriving = place.with_suffix(".arriving")
                arriving.write_text(text)
                arriving.rename(place)
            trouble = ""
        except (OSError, ValueError, HTTPException) as error:
            if str(error) != trouble:
                print(f"Consul does not say which agents run here: {error}", file=sys.stderr, flush=True)
            trouble = str(error)
        time.sleep(float(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
