"""One line a figure: what was asked, what came out, and whether that is enough."""

from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured value against its goal; ``at_most`` tells which side of the goal is good."""

    name: str
    value: float
    goal: float
    unit: str
    at_most: bool = True
    detail: str = ""

    def line(self) -> str:
        """For people."""
        met = self.value <= self.goal if self.at_most else self.value >= self.goal
        sign = "≤" if self.at_most else "≥"
        verdict = "met" if met else "MISSED"
        value = f"{self.value:>8.2f} {self.unit:<4} goal {sign} {self.goal:g}"
        return f"  {verdict:<7} {self.name:<46} {value}  {self.detail}"


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Median by median."""
    return median(ours) / median(theirs)


def shown(values: list[float]) -> str:
    """Median and range of some seconds."""
    return f"{median(values):.3f} s ({min(values):.3f} to {max(values):.3f})"
