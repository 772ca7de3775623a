"""One result of a check, as people and playbooks read it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: fine, or what is wrong and what to do; a ``note`` is fine and worth knowing."""

    check: str
    fine: bool
    says: str
    note: bool = False


def fine(check: str, says: str) -> Finding:
    """All is well."""
    return Finding(check, True, says)


def wrong(check: str, says: str) -> Finding:
    """``says`` names the fault, the value and the remedy."""
    return Finding(check, False, says)


def noted(check: str, says: str) -> Finding:
    """Nothing is wrong, and yet."""
    return Finding(check, True, says, note=True)
