"""The dynamic configuration as it comes: one JSON document, signed by a hotkey that operators trust.

``{"configuration": {…}, "signatory": ss58, "signature": 0x…}``; what is signed is ``_DOMAIN`` and the
canonical JSON of ``configuration`` as it was written, so that later knobs with defaults break no signature.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from horde_agents.protocol.signing import Hotkey, Signer, from_hex, to_hex, verify
from horde_agents.scoring.canonical import NotCanonical, canonical_json, read_canonical
from horde_agents.scoring.configuration import Configuration

#: No document is longer; some hundred classes fit.
MOST_BYTES: Final = 65_536
#: The largest integer that every database and JSON reader keeps.
_MOST_VERSION: Final = 2**53 - 1
_DOMAIN: Final = b"horde dynamic configuration 1\n"
_KEYS: Final = {"configuration", "signatory", "signature"}


class ConfigurationRefused(Exception):
    """A dynamic configuration does not apply; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class SignedConfiguration:
    """A configuration whose signature has been verified; ``text`` is the canonical JSON that was signed."""

    configuration: Configuration
    text: str
    signatory: Hotkey
    signature: str


def read_signed(document: bytes, signers: Collection[str]) -> SignedConfiguration:
    """Read a document whole or not at all.

    Raises:
        ConfigurationRefused: too long, not the form, unknown signatory, wrong signature, wrong values.
    """
    value = _object(document)
    if set(value) != _KEYS:
        raise ConfigurationRefused(f"The document must have {', '.join(sorted(_KEYS))} and nothing else.")
    signatory, signature = value["signatory"], value["signature"]
    if not isinstance(signatory, str) or not isinstance(signature, str):
        raise ConfigurationRefused("Signatory and signature must be texts.")
    text = canonical_json(value["configuration"])
    check_signature(text, signatory, signature, signers)
    return SignedConfiguration(read_knobs(text), text, Hotkey(signatory), signature)


def check_signature(text: str, signatory: str, signature: str, signers: Collection[str]) -> None:
    """Whether one of ``signers`` signed the canonical ``text``.

    Raises:
        ConfigurationRefused: it did not.
    """
    if signatory not in signers:
        raise ConfigurationRefused(
            f"Signatory {signatory!r:.60} is not named in the setting configuration_signers."
        )
    if not verify(signatory, _DOMAIN + text.encode(), from_hex(signature)):
        raise ConfigurationRefused(f"The signature of {signatory} is wrong; sign the file again.")


def read_knobs(text: str) -> Configuration:
    """The knobs of a canonical text.

    Raises:
        ConfigurationRefused: a knob is unknown, of another type, or out of its range.
    """
    try:
        configuration = Configuration.model_validate_json(text, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(part) for part in first["loc"]) or "the configuration"
        given = f"{first['input']!r:.60}"
        raise ConfigurationRefused(
            f"Knob {name} is wrong: {first['msg'].removeprefix('Value error, ')} (given: {given})."
        ) from error
    if not 1 <= configuration.version <= _MOST_VERSION:
        raise ConfigurationRefused(
            f"Version {configuration.version} is not within 1..{_MOST_VERSION}; count up from the last one."
        )
    return configuration


def sign_configuration(document: bytes, signer: Signer) -> str:
    """The signed document for knobs as a person wrote them, or for a signed document, signed anew.

    Raises:
        ConfigurationRefused: the knobs are wrong.
    """
    value = _object(document)
    if set(value) == _KEYS:
        value = value["configuration"]
    text = canonical_json(value)
    read_knobs(text)
    signed = {
        "configuration": value,
        "signatory": signer.hotkey,
        "signature": to_hex(signer.sign(_DOMAIN + text.encode())),
    }
    return canonical_json(signed)


def _object(document: bytes) -> Mapping[str, Any]:
    if len(document) > MOST_BYTES:
        raise ConfigurationRefused(f"The document has more than {MOST_BYTES} bytes.")
    try:
        value = read_canonical(document.decode())
    except (NotCanonical, UnicodeDecodeError) as error:
        raise ConfigurationRefused(f"The document {error!s:.200}") from error
    if not isinstance(value, dict):
        raise ConfigurationRefused("The document is no JSON object.")
    return value
