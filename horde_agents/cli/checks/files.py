"""Files that an agent's settings name: certificates and how long they hold, secrets and who may read them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from horde_agents.cli.checks.certificates import certificate_finding
from horde_agents.cli.checks.finding import Finding, wrong
from horde_agents.runtime.clock import now

_CERTIFICATES: Final = ("_ca_file", "_certificate_file")
_SECRETS: Final = ("_token_file", "_key_file", "_secret_file")


def file_findings(settings: BaseModel) -> Iterator[Finding]:
    """One finding for each setting that names a certificate, and for each secret that is not one."""
    for name, value in settings:
        if not isinstance(value, Path):
            continue
        if name.endswith(_CERTIFICATES):
            check = f"certificate {name.removesuffix('_file')}"
            yield certificate_finding(check, value, now(), f"correct setting '{name}'")
        elif name.endswith(_SECRETS) and (why := _why_no_secret(value)):
            yield wrong(f"secret {name.removesuffix('_file')}", f"{value} {why} (setting '{name}')")


def _why_no_secret(file: Path) -> str:
    """Empty where the file can be read, and by its owner (and group) alone."""
    try:
        mode = file.stat().st_mode
        with file.open("rb"):
            pass
    except OSError as error:
        return f"cannot be read: {error.strerror}; correct it"
    return f"is readable by everybody; run: chmod o-rwx {file}" if mode & 0o004 else ""
