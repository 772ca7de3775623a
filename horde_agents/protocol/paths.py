"""The one spelling of a relative path that volumes and uploads accept (wire note F.7.1)."""

from typing import Annotated

from pydantic import AfterValidator

_MAX_COMPONENT_BYTES = 255


def canonical_relative_path(text: str) -> str:
    """Return ``text`` when it is canonical.

    Raises:
        ValueError: any other spelling; the text says what is wrong with it.
    """
    if not text:
        raise ValueError("relative_path is empty; name a file below the directory")
    if "\\" in text or "\0" in text:
        raise ValueError(f"relative_path {text!r} has a backslash or NUL; separate components by '/'")
    for part in text.split("/"):
        if part in {"", ".", ".."} or len(part.encode()) > _MAX_COMPONENT_BYTES:
            raise ValueError(
                f"relative_path {text!r:.200} is not canonical: no leading or double '/', no '.' or '..'"
            )
    return text


def _canonical_or_nothing(text: str | None) -> str | None:
    return canonical_relative_path(text) if text else text


RelativePath = Annotated[str, AfterValidator(canonical_relative_path)]
#: Directories may be left out: the whole volume is meant (wire note F.1.6).
OptionalRelativePath = Annotated[str | None, AfterValidator(_canonical_or_nothing)]
