"""What the role takes for a driver's package, among the names that Debian and NVIDIA use."""

import re

import pytest
import yaml

from tools.role_readme import FOLDER

_NAMES = yaml.safe_load((FOLDER / "nvidia_driver" / "vars" / "main.yml").read_text())["_nvidia_driver_names"]


@pytest.mark.parametrize(
    "name",
    [
        *("nvidia-driver", "nvidia-kernel-open-dkms", "nvidia-driver-pinning-570", "cuda-drivers-535"),
        *("libcuda1:amd64", "libnvidia-ml1:amd64", "libegl-nvidia0:amd64", "xserver-xorg-video-nvidia"),
        *("firmware-nvidia-gsp", "linux-modules-nvidia-580-server-open-generic", "libnvcuvid1:i386"),
    ],
)
@pytest.mark.parametrize("state", ["ii ", "hi ", "iF ", "iU ", "iHR"])
def test_it_is_a_driver_s(name: str, state: str) -> None:
    assert re.search(_NAMES, f"{state}|{name}|580.95.05-1")


@pytest.mark.parametrize(
    "line",
    [
        *("ii |nvidia-container-toolkit|1.20.0-1", "ii |libnvidia-container1:amd64|1.20.0-1"),
        *("ii |cuda-toolkit-13-0|13.0.1-1", "ii |linux-headers-amd64|6.1.176-1"),
        # its configuration is there, or not even that
        *("rc |nvidia-driver|535.261.03-1", "un |nvidia-driver|"),
    ],
)
def test_it_is_another_s(line: str) -> None:
    assert not re.search(_NAMES, line)
