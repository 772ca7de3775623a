"""Files that an agent's settings name: certificates and how long they hold, secrets and who may read them."""

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
_CERTIFICATES: Final = ("_ca_file", "_certificate_file")
_SECRETS: Final = ("_token_file", "_key_file", "_secret_file")


def file_findings(settings: BaseModel) -> Iterator[Finding]:
    """One finding for each setting that names a certificate, and for each secret that is not one."""
    for name, value in settings:
        if not isinstance(value, Path):
            continue
        if name.endswith(_CERTIFICATES):
            yield _certificate_finding(name, value, now())
        elif name.endswith(_SECRETS) and (why := _why_no_secret(value)):
            yield wrong(f"secret {name.removesuffix('_file')}", f"{value} {why} (setting '{name}')")


def _certificate_finding(setting: str, file: Path, at: datetime) -> Finding:
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


def _why_no_secret(file: Path) -> str:
    """Empty where the file can be read, and by its owner (and group) alone."""
    try:
        mode = file.stat().st_mode
        with file.open("rb"):
            pass
    except OSError as error:
        return f"cannot be read: {error.strerror}; correct it"
    return f"is readable by everybody; run: chmod o-rwx {file}" if mode & 0o004 else ""
