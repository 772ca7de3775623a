"""Certificates that an agent's settings name: readable, and for how long they hold."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from pydantic import BaseModel

from horde_agents.cli.checks.finding import Finding, fine, wrong
from horde_agents.runtime.clock import now

#: Long enough to renew one without haste.
_SOON: Final = timedelta(days=30)
_SETTINGS: Final = ("_ca_file", "_certificate_file")


def certificate_findings(settings: BaseModel) -> Iterator[Finding]:
    """One finding for each setting that names a certificate."""
    for name, value in settings:
        if name.endswith(_SETTINGS) and isinstance(value, Path):
            yield _finding(name, value, now())


def _finding(setting: str, file: Path, at: datetime) -> Finding:
    check = f"certificate {setting.removesuffix('_file')}"
    try:
        found = x509.load_pem_x509_certificates(file.read_bytes())
    except OSError as error:
        return wrong(check, f"{file} cannot be read: {error.strerror}; correct setting '{setting}'")
    except ValueError:
        return wrong(check, f"{file} is no PEM certificate; correct setting '{setting}'")
    ends = min(certificate.not_valid_after_utc for certificate in found)
    if ends <= at:
        return wrong(check, f"{file} has expired on {ends:%Y-%m-%d}; renew it")
    if ends - at < _SOON:
        return wrong(check, f"{file} expires on {ends:%Y-%m-%d}, in {(ends - at).days} days; renew it")
    return fine(check, f"{file} holds until {ends:%Y-%m-%d}")
