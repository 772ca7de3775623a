"""Findings that need not be fine somewhere, by name or by a profile of ``floors.toml``: notes that say so."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

from horde_agents.cli.checks.finding import Finding


@dataclass(frozen=True, slots=True)
class Waivers:
    """``names`` are the operator's own; a profile adds its own."""

    names: Sequence[str] = ()
    profile: str = ""

    def applied(self, finding: Finding) -> Finding:
        """The finding; one that is wrong and waived becomes a note."""
        if finding.fine:
            return finding
        if finding.check in self.names:
            return replace(finding, fine=True, note=True, says=f"waived: {finding.says}")
        if self.profile and finding.check in profiles()[self.profile]:
            says = f"waived by profile {self.profile}: {finding.says}"
            return replace(finding, fine=True, note=True, says=says)
        return finding


@cache
def profiles() -> dict[str, tuple[str, ...]]:
    """Name → checks that need not be fine."""
    text = resources.files("horde_agents.cli.checks").joinpath("floors.toml").read_text()
    return {row["name"]: tuple(row["waive"]) for row in tomllib.loads(text)["profile"]}
