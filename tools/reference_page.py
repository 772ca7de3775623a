"""Prints docs/operate/reference.md: ports, commands, exit codes, error codes, causes, metrics.

    python -m tools.reference_page docs/operate/reference.md

A test compares the page with what is printed here.
"""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import typer
from prometheus_client import CollectorRegistry

from horde_agents.agents.facilitator.parts import FacilitatorMetrics
from horde_agents.agents.miner.parts import MinerMetrics
from horde_agents.agents.validator.metrics import Metrics as ValidatorMetrics
from horde_agents.cli.app import app
from horde_agents.jobs.faults import Cause, HordeFaultReason, JobFaultReason, RejectionReason
from horde_agents.protocol.rest_api import ERRORS

_HEAD: Final = """\
# Reference

Printed from the code: `python -m tools.reference_page docs/operate/reference.md`. Settings have a page of their own:
[settings](settings.md).

## Ports

| port | who listens | for whom | setting |
| --- | --- | --- | --- |
| 9000 | facilitator | users (REST), validators (`/ws/v0/`) | `port` |
| 8000 | miner | validators (`/v0.1/validator_interface/…`), receipts, `/version`, `/admin/login/` | `port` |
| 8443 | miner | its executors, TLS 1.3 only | `executor_port` |
| 9101, 9102, 9103 | facilitator, validator, miner | operators: `/healthz`, `/readyz`, `/metrics`, the miner's `/executors` and `/jobs`; loopback by default | `operator_port` |
| 9112 | validator | operators and other validators: `/api/v1/…` ([validator-api](validator-api.md)); loopback by default | `api_port` |
| 4646, 4647, 4648 | Nomad: HTTP, RPC, gossip | operators and miners; servers and gpu nodes; servers | `nomad_urls` |
| 8500 or 8501, 8300, 8301 | Consul: HTTP or HTTPS, RPC, gossip | operators and miners; servers and agents; all | `consul_urls` |
| 9944 | devchain | Bittensor tools, loopback by default | `--port` |

## Exit codes

| code | of | means |
| --- | --- | --- |
| 0 | all | done |
| 1 | `horde job run` | the job failed: the user's image, data, command or limits |
| 1 | `horde doctor`, `horde validator run-job` | something is wrong; the output says what |
| 1 | `horde score replay` | the score does not come out the same |
| 1 | `horde receipts verify` | a receipt does not hold, or there is none |
| 2 | all | wrong arguments or settings, no answer, or refused; one sentence says which |
| 3 | `horde job run` | the job was rejected: no miner would or could take it |
| 4 | `horde job run` | the horde failed |
"""
#: What each finer cause means; the enum's own comments say it to those who read the code.
_CAUSES: Final[dict[Cause, str]] = {
    Cause.CANCELLED: "The user took the job back.",
    Cause.DEADLINE_PASSED: "No final report came within the whole budget.",
    Cause.AGENT_RESTARTED: "An agent ended in the middle of the job and could not take it up again.",
    Cause.IMAGE_NOT_FOUND: "No registry has the image, or it says no.",
    Cause.IMAGE_REFUSED: "The image's name is none that a registry could serve.",
    Cause.VOLUME_REFUSED: "A zip that climbs out or explodes, an address that jobs may not reach, a refused download.",
    Cause.VOLUME_UNREACHABLE: "A download did not come through in three tries.",
    Cause.SPACE_EXCEEDED: "The job wrote or printed more than its executor allows.",
    Cause.MEMORY_EXCEEDED: "The container used more memory than its executor allows.",
    Cause.OUTPUT_MISSING: "An upload names a file that the job did not write, or that is no plain file.",
    Cause.UPLOAD_REFUSED: "The receiver of an upload answered with an error, or did not answer.",
    Cause.STAGE_TIMEOUT: "A stage took longer than its limit and what was left before it.",
    Cause.DOCKER_FAILED: "The container engine of the gpu node did not do its part.",
}


def reference_page() -> str:
    """The whole page."""
    return "\n".join(
        [
            _HEAD,
            "## Commands\n",
            *_table(("command", "does"), _commands()),
            "\n## Error codes of the facilitator\n",
            "Every refusal is `{error, code, detail, details}`; `error` and `detail` are the same sentence.\n",
            *_table(
                ("code", "HTTP", "means"), ((f"`{code}`", str(s), text) for code, (s, text) in ERRORS.items())
            ),
            "\n## Why a job ended\n",
            "Reasons as on the wire; `context.cause` is finer.\n",
            *_table(("status", "reasons"), _reasons()),
            "",
            *_table(("cause", "means"), ((f"`{cause.value}`", _CAUSES[cause]) for cause in Cause)),
            "\n## Metrics\n",
            *_table(("metric", "type", "labels", "means"), _metrics()),
            "",
        ]
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]


def _commands() -> Iterator[tuple[str, str]]:
    return _below(typer.main.get_command(app), "horde")


def _below(command: Any, path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401  (typer's own command class)
    inner = getattr(command, "commands", None)
    if inner is None:
        yield f"`{path}`", (command.help or "").strip().splitlines()[0]
        return
    for name, each in inner.items():
        yield from _below(each, f"{path} {name}")


def _reasons() -> Iterator[tuple[str, str]]:
    groups = {"rejected": RejectionReason, "failed": JobFaultReason, "horde_failed": HordeFaultReason}
    for status, reasons in groups.items():
        yield f"`{status}`", ", ".join(f"`{reason.value}`" for reason in reasons)


def _metrics() -> Iterator[tuple[str, str, str, str]]:
    for metrics in (FacilitatorMetrics(), ValidatorMetrics(), MinerMetrics()):
        yield from _of_registry(metrics.registry)


def _of_registry(registry: CollectorRegistry) -> Iterator[tuple[str, str, str, str]]:
    for collector in registry._collector_to_names:
        for family in collector.describe() if hasattr(collector, "describe") else collector.collect():
            names = getattr(family, "_labelnames", ()) or getattr(collector, "_labelnames", ())
            labels = ", ".join(f"`{name}`" for name in names)
            yield f"`{family.name}`", family.type, labels, family.documentation


def _main() -> None:
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(reference_page())
    else:
        sys.stdout.write(reference_page())


if __name__ == "__main__":
    _main()
