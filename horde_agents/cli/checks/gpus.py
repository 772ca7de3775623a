"""NVIDIA's GPUs of this machine: on the bus, in the driver, in a container."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from horde_agents.cli.checks.finding import Finding, fine, noted, wrong

_BUS: Final = Path("/sys/bus/pci/devices")
_NVIDIA: Final = "0x10de"
#: PCI's class of displays, which computing cards have, too.
_DISPLAY: Final = "0x03"
_ANSWER_S: Final = 60.0
_ASK: Final = ("nvidia-smi", "--query-gpu=uuid,name", "--format=csv,noheader")
_SAID: Final = 160


def gpu_findings(image: str, bus: Path = _BUS) -> Iterator[Finding]:
    """Nothing where there is neither a GPU nor a driver; ``image`` is one that a container can be made of."""
    present = on_the_bus(bus)
    here = _run(_ASK)
    if here is None:
        if present:
            remedy = "install the driver: site.yml --tags nvidia, or the vendor's own"
            yield wrong(
                "driver",
                f"{present} GPUs of NVIDIA's are on the PCI bus, and nvidia-smi is missing; {remedy}",
            )
        return
    gpus = _gpus(here)
    if here.returncode or not gpus:
        remedy = "see: dmesg --grep NVRM; reboot it, or: site.yml --tags nvidia"
        yield wrong("driver", f"nvidia-smi has no GPU: {_said(here)}; {remedy}")
        return
    if len(gpus) < present:
        missing = f"{present} GPUs are on the PCI bus, and the driver has {len(gpus)}"
        yield wrong("driver", f"{missing}; see: dmesg --grep NVRM, for one may have fallen off the bus")
    else:
        yield fine("driver", f"{len(gpus)} GPUs: {_names(gpus)}")
    yield _in_a_container(image, gpus)


def on_the_bus(bus: Path) -> int:
    """How many of NVIDIA's display devices the PCI bus has."""
    found = 0
    for device in bus.glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
        except OSError:
            continue
        found += vendor == _NVIDIA and kind.startswith(_DISPLAY)
    return found


def _in_a_container(image: str, gpus: dict[str, str]) -> Finding:
    """As jobs get them: by Docker's own list of devices, without network."""
    check = "GPU in a container"
    if not image:
        return noted(check, "not tried; name an image that is on this machine: --gpu-image")
    words = ["docker", "run", "--rm", "--pull", "never", "--network", "none", "--gpus", "all"]
    ran = _run([*words, "--entrypoint", _ASK[0], image, *_ASK[1:]])
    if ran is None:
        return wrong(check, "the program docker is missing, or did not end in 60 s; systemctl status docker")
    inside = _gpus(ran)
    if ran.returncode or not inside:
        remedy = "see: nvidia-ctk cdi list; then: site.yml --tags nvidia"
        return wrong(check, f"a container of {image} has none: {_said(ran)}; {remedy}")
    if inside.keys() != gpus.keys():
        lacking = ", ".join(sorted(gpus.keys() - inside.keys())) or "none"
        return wrong(
            check, f"it has {len(inside)} of {len(gpus)}, without {lacking}; run: systemctl restart docker"
        )
    return fine(check, f"it has all {len(inside)}")


def _gpus(ran: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    """UUID → model."""
    rows = [line.split(",", 1) for line in ran.stdout.splitlines() if line.startswith(("GPU-", "MIG-"))]
    return {row[0].strip(): row[-1].strip() for row in rows}


def _names(gpus: dict[str, str]) -> str:
    models = sorted(gpus.values())
    return ", ".join(f"{models.count(model)} {model}" for model in dict.fromkeys(models))


def _said(ran: "subprocess.CompletedProcess[str]") -> str:
    said = " ".join((ran.stderr.strip() or ran.stdout).split())
    return said[-_SAID:].rstrip(".") or f"exit code {ran.returncode}, and nothing said"


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str] | None":
    """None where there is no such program; one that hangs, as nvidia-smi with a broken card, has failed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_ANSWER_S, check=False)
    except FileNotFoundError:
        return None
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, "", str(error))
