"""Keeps secrets out of whatever is printed: by the name of a value, and inside addresses."""

import re
from collections.abc import Mapping
from typing import Any, Final

HIDDEN: Final = "[hidden]"
#: A name that ends in one of these words is a secret's; ``token_count`` or ``hotkey_file`` is not.
_SECRET_NAME: Final = re.compile(
    r"(^|_|-)(token|secret|password|passwd|authorization|cookie|seed|mnemonic|private_?key|api_?key)s?$",
    re.IGNORECASE,
)
_ADDRESS_PASSWORD: Final = re.compile(r"(://[^/@:\s]*:)[^/@\s]+@")


def names_secret(name: str) -> bool:
    """True when the value of this name must not be shown."""
    return _SECRET_NAME.search(name) is not None


def shown(name: str, value: Any) -> Any:  # noqa: ANN401  (whatever is printed)
    """``value`` as it may be printed: secrets replaced, in maps and lists too."""
    if names_secret(name):
        return HIDDEN
    if isinstance(value, str):
        return _ADDRESS_PASSWORD.sub(rf"\1{HIDDEN}@", value) if "://" in value else value
    if isinstance(value, Mapping):
        return {key: shown(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [shown(name, item) for item in value]
    return value
