"""The checks of a machine for machines without an agent, and a miner's reachability from another place.

    python3 -m horde_agents.cli.checks.on_machine [--docker] [--gpu-image IMAGE] [--waive CHECK] …
    python3 -m horde_agents.cli.checks.on_machine --miner HOST:PORT …

Owns no check: it runs those of ``horde doctor`` that need Python alone, so that ``playbooks/doctor.yml`` can
bring this folder to a machine. Prints what ``horde doctor --json`` prints, with the same exit code.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from horde_agents.cli.checks.finding import Finding
from horde_agents.cli.checks.machine import machine_findings
from horde_agents.cli.checks.reach import reach_finding
from horde_agents.cli.checks.waivers import Waivers, profiles


def main(words: Sequence[str]) -> int:
    """0 when nothing is wrong, 1 when something is."""
    asked = _parser().parse_args(words)
    waivers = Waivers(asked.waive, asked.profile)
    findings = [waivers.applied(finding) for finding in _findings(asked)]
    print(json.dumps([asdict(finding) for finding in findings]))
    return 0 if all(finding.fine for finding in findings) else 1


def _findings(asked: argparse.Namespace) -> Iterator[Finding]:
    if asked.miner:
        yield from (reach_finding(address) for address in asked.miner)
    else:
        yield from machine_findings(runs_containers=asked.docker, gpu_image=asked.gpu_image)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="on_machine", description="Look at this machine; print JSON.")
    parser.add_argument("--docker", action="store_true", help="containers run here")
    parser.add_argument("--gpu-image", default="", help="an image here, to try the GPUs in")
    parser.add_argument("--miner", action="append", help="host:port of a miner, to be looked at instead")
    parser.add_argument("--waive", action="append", default=[], help="name of a check that need not be fine")
    parser.add_argument("--profile", default="", choices=["", *profiles()], help="waive what it names")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
