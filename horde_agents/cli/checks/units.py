"""What systemd says of the services that a horde's machine has."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from horde_agents.cli.checks.finding import Finding, fine, wrong

#: Those that the roles enable; a machine has some of them.
UNITS: Final = (
    *("chrony.service", "horde-firewall.service"),
    *("consul.service", "nomad.service", "docker.service", "docker-registry.service"),
    *("postgresql@15-horde.service", "horde-objects.service", "horde-backup.timer"),
    *("haproxy.service", "keepalived.service"),
    *("horde-prometheus.service", "prometheus-alertmanager.service"),
    *("prometheus-node-exporter.service", "horde-collector.service", "horde-find-agents.service"),
    "horde-certificates.timer",
)
_ANSWER_S: Final = 10.0
_BOOTED: Final = Path("/run/systemd/system")
_PROPERTIES: Final = "Id,LoadState,UnitFileState,ActiveState,NRestarts"
#: What shall start by itself, or is started by another; a unit that somebody has disabled is not missed.
_ENABLED: Final = frozenset({"enabled", "enabled-runtime", "static", "indirect"})


def unit_findings(units: Sequence[str] = UNITS, booted: Path = _BOOTED) -> Iterator[Finding]:
    """One finding a unit that shall run here; nothing where systemd does not run."""
    if not booted.exists():
        return
    command = ["systemctl", "show", "--property", _PROPERTIES, *units]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        yield wrong(
            "systemd", f"it does not say how its units are ({error}); see: systemctl is-system-running"
        )
        return
    for block in told.stdout.strip().split("\n\n"):
        row = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if row.get("LoadState") == "loaded" and row.get("UnitFileState") in _ENABLED:
            yield _unit(row)


def _unit(row: dict[str, str]) -> Finding:
    name = row["Id"].removesuffix(".service")
    restarts = int(row.get("NRestarts") or 0)
    again = f", restarted {restarts} times" if restarts else ""
    if row["ActiveState"] == "active":
        return fine(f"unit {name}", f"active{again}")
    remedy = f"see why: journalctl -u {name} -n 50; then: systemctl restart {name}"
    return wrong(f"unit {name}", f"it is {row['ActiveState']}{again}; {remedy}")
