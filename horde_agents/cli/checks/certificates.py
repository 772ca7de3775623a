"""Certificates in files and when they end; and those that the provisioning keeps on a machine.

Needs Python alone, as all that ``on_machine`` runs: it reads of a certificate's DER just how long it holds.
"""

import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from horde_agents.cli.checks.finding import Finding, fine, noted, wrong

#: Long enough to renew one without haste.
_SOON: Final = timedelta(days=30)
_RENEWED: Final = "run site.yml, which makes new ones from 30 days before their end on"
_AUTHORITY: Final = (
    "run playbooks/rotate_secrets.yml -e rotate=authorities before its end, for nothing can be asked after"
)
#: Where the roles put the certificates that a machine serves with, or shows, and how they are renewed.
PLACES: Final = {
    Path("/etc/consul.d/tls"): _RENEWED,
    Path("/etc/nomad.d/tls"): _RENEWED,
    Path("/etc/docker/registry/tls"): _RENEWED,
    Path("/etc/postgresql/15/horde/tls"): _RENEWED,
    Path("/etc/horde-objects"): _RENEWED,
    Path("/etc/horde-monitoring"): _RENEWED,
    Path("/etc/horde-ingress"): (
        "get a new one, put it where ingress_certificate_file says, and run playbooks/ingress.yml; "
        "one of ACME renews itself: journalctl -u certbot"
    ),
}
_END: Final = "-----END CERTIFICATE-----"
_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
#: Tags of DER.
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_VERSION: Final = 0xA0
#: Bit of a length's first byte that says that the others are its bytes.
_LONG: Final = 0x80
#: RFC 5280: a year of two digits below this one is of this century.
_TURN: Final = 50


class NoCertificate(Exception):
    """The text is no PEM certificate."""


def certificate_finding(check: str, file: Path, at: datetime, remedy: str) -> Finding:
    """Whether the first of its certificates to end holds for long enough; ``remedy`` if none can be read."""
    try:
        ends = first_end(file.read_text(encoding="latin-1"))
    except OSError as error:
        return wrong(check, f"{file} cannot be read: {error.strerror}; {remedy}")
    except NoCertificate:
        return wrong(check, f"{file} is no PEM certificate; {remedy}")
    if ends <= at:
        return wrong(check, f"{file} has expired on {ends:%Y-%m-%d}; renew it")
    if ends - at < _SOON:
        return wrong(check, f"{file} expires on {ends:%Y-%m-%d}, in {(ends - at).days} days; renew it")
    return fine(check, f"{file} holds until {ends:%Y-%m-%d}")


def machine_certificate_findings(at: datetime, places: Mapping[Path, str] = PLACES) -> Iterator[Finding]:
    """One finding a folder: the certificate there that ends first, and each that ends soon."""
    for folder, renewed in places.items():
        check = f"certificates {folder}"
        try:
            files = sorted(file for file in folder.glob("*.pem") if _BEGIN in file.read_text("latin-1"))
        except PermissionError:
            yield noted(check, "not looked at, as they may be read by root alone; run this as root")
            continue
        found = {file: certificate_finding(check, file, at, "replace it") for file in files}
        bad = {file: finding for file, finding in found.items() if not finding.fine}
        for file, finding in bad.items():
            remedy = _AUTHORITY if file.stem.endswith("ca") else renewed
            yield wrong(finding.check, f"{finding.says}: {remedy}")
        if found and not bad:
            ends = min(first_end(file.read_text("latin-1")) for file in files)
            yield fine(check, f"{len(found)} hold until {ends:%Y-%m-%d}")


def first_end(text: str) -> datetime:
    """When the first of a text's certificates ends.

    Raises:
        NoCertificate: there is none, or one that cannot be read.
    """
    blocks = [part.partition(_BEGIN)[2] for part in text.split(_END)[:-1]]
    try:
        return min(_not_after(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{block}{_END}\n")) for block in blocks)
    except (ValueError, IndexError) as error:
        raise NoCertificate from error


def _not_after(der: bytes) -> datetime:
    """RFC 5280, 4.1: the second time in ``validity``, before which are version, serial, algorithm, issuer."""
    certificate = _inside(der)[0][1]
    fields = _inside(_inside(certificate)[0][1])
    if fields[0][0] == _VERSION:
        fields = fields[1:]
    tag, raw = _inside(fields[3][1])[1]
    digits = raw.decode("ascii")
    if tag == _UTC_TIME:
        digits = ("20" if int(digits[:2]) < _TURN else "19") + digits
    elif tag != _GENERALIZED_TIME:
        raise ValueError(tag)
    return datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _inside(der: bytes) -> list[tuple[int, bytes]]:
    """The elements of a DER sequence's content: tag and content each."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < len(der):
        tag, length, at = der[at], der[at + 1], at + 2
        if length & _LONG:
            size = length & ~_LONG
            length, at = int.from_bytes(der[at : at + size]), at + size
        if at + length > len(der):
            raise ValueError(length)
        found.append((tag, der[at : at + length]))
        at += length
    return found
