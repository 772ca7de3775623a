"""Which authorities and certificates on the controller are not as role pki wants them; changes nothing.

    look.py authorities DIR RENEW_DAYS AUTHORITY …
    look.py certificates DIR RENEW_DAYS MACHINE ADDRESS '{"AUTHORITY": ["DNS name", …], …}'

Prints the names of those authorities as a JSON list. What cannot be read is among them, for the role's own
tasks then say what is wrong with it. They would find the same, with four modules for each certificate of each
machine, which is most of a run that changes nothing.
"""

import datetime
import ipaddress
import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_TRUSTED = ("signing.pem", "next.pem", "before.pem")
_UNREADABLE = (
    *(OSError, ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm),
    *(x509.ExtensionNotFound, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType),
)
_USES = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def main(words: list[str]) -> None:
    match words:
        case ["authorities", folder, days, *names]:
            renewal = _in_days(int(days))
            unfit = [name for name in names if not _holds(is_authority_fit, Path(folder, name), renewal)]
        case ["certificates", folder, days, machine, address, names]:
            renewal = _in_days(int(days))
            unfit = [
                authority
                for authority, dns in json.loads(names).items()
                if not _holds(is_certificate_fit, Path(folder, authority), machine, dns, address, renewal)
            ]
        case _:
            sys.exit(__doc__)
    print(json.dumps(unfit))


def is_authority_fit(folder: Path, renewal: datetime.datetime) -> bool:
    """Whether it can sign until then, and machines get what they shall trust."""
    signing = _certificate(folder / "signing.pem")
    trusted = [(folder / name).read_text().rstrip() for name in _TRUSTED if (folder / name).is_file()]
    return (
        stat.S_IMODE(folder.stat().st_mode) == 0o700
        and _signs(folder)
        and signing.not_valid_after_utc > renewal
        and _private(folder / "ca.pem").read_text() == "\n".join(trusted) + "\n"
    )


def is_certificate_fit(
    folder: Path, machine: str, dns: list[str], address: str, renewal: datetime.datetime
) -> bool:
    """Whether the authority that signs now has signed the machine's key with just these names until then."""
    certificate = _certificate(_private(folder / f"{machine}.pem"))
    certificate.verify_directly_issued_by(_certificate(folder / "signing.pem"))
    extensions = certificate.extensions
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return (
        _signs(folder)
        and _key(folder / f"{machine}-key.pem") == certificate.public_key()
        and [name.value for name in common] == [machine]
        and set(extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == _names(dns, address)
        and usage.digital_signature
        and not (usage.key_cert_sign or usage.crl_sign or usage.key_encipherment or usage.key_agreement)
        and set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == _USES
        and certificate.not_valid_after_utc > renewal
    )


def _holds(question: Callable[..., bool], *about: object) -> bool:
    """The answer; no where something is missing, unreadable, or not signed by whom it says."""
    try:
        return question(*about)
    except _UNREADABLE:
        return False


def _signs(folder: Path) -> bool:
    """Whether the authority's key belongs to the certificate that signs.

    With another nothing can be signed.
    """
    return _key(folder / "ca-key.pem") == _certificate(folder / "signing.pem").public_key()


def _names(dns: list[str], address: str) -> set[x509.GeneralName]:
    own = {x509.IPAddress(ipaddress.ip_address(number)) for number in ("127.0.0.1", address)}
    return {x509.DNSName(name) for name in [*dns, "localhost"]} | own


def _certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def _key(file: Path) -> EllipticCurvePublicKey:
    public = load_pem_private_key(_private(file).read_bytes(), password=None).public_key()
    if not isinstance(public, EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        raise ValueError(f"{file} is no key of the curve secp256r1")
    return public


def _private(file: Path) -> Path:
    """The file, if nobody else may read it."""
    if stat.S_IMODE(file.stat().st_mode) != 0o600:
        raise ValueError(f"{file} has another mode than 0600")
    return file


def _in_days(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


if __name__ == "__main__":
    main(sys.argv[1:])
