"""Compares strategies with honesty, as rows, as a table and as a picture."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Final

from horde_agents.simulation.play import Income, play
from horde_agents.simulation.strategies import HONEST, STRATEGIES, Strategy
from horde_agents.simulation.world import SILENCE, Setting

#: Two weeks of 722 blocks of 12 s.
SHORT_CYCLES: Final = 140
_BAR_PX: Final = 22
_LABEL_PX: Final = 230
_UNIT_PX: Final = 300
_BASE_PX: Final = 40


@dataclass(frozen=True, slots=True)
class Row:
    """What a strategy earns against what the same coalition earns honestly, in thousandths of a percent."""

    strategy: str
    all_ppht: int
    miners_ppht: int
    validators_ppht: int

    @property
    def pays(self) -> bool:
        """Whether honesty earns less."""
        return self.all_ppht > _WHOLE


_WHOLE: Final = 100_000


def compared(
    setting: Setting,
    strategies: Iterable[Strategy] = STRATEGIES,
    cycles: int = SHORT_CYCLES,
    on_row: Callable[[Row], None] | None = None,
) -> Sequence[Row]:
    """A row for each strategy; those that need stake are left out of a coalition without any."""
    honest = play(setting, HONEST, cycles)
    rows = []
    for strategy in strategies:
        if strategy.needs_stake and not setting.coalition:
            continue
        rows.append(_row(strategy, play(setting, strategy, cycles), honest))
        if on_row:
            on_row(rows[-1])
    return rows


def largest_honest_loss(setting: Setting, cycles: int = SHORT_CYCLES) -> float:
    """How much the unluckiest coldkey loses to noise, as a part of what it earns without."""
    noisy = play(setting, HONEST, cycles).by_coldkey
    quiet = play(replace(setting, noise=SILENCE), HONEST, cycles).by_coldkey
    return float((1 - noisy / quiet).max())


def table(rows: Iterable[Row]) -> str:
    """Markdown, incomes in percent of the honest ones."""
    lines = ["| strategy | income | its miners | its validators | pays |", "|---|---:|---:|---:|---|"]
    lines += [
        f"| {row.strategy} | {_percent(row.all_ppht)} | {_percent(row.miners_ppht)} "
        f"| {_percent(row.validators_ppht)} | {'**yes**' if row.pays else 'no'} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def picture(rows: Sequence[Row], title: str) -> str:
    """An SVG: a bar for each strategy, and a line where honesty is."""
    height, width = _BASE_PX + _BAR_PX * len(rows) + 20, _LABEL_PX + int(_UNIT_PX * 1.35)
    line = _LABEL_PX + _UNIT_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-size="12">',
        '<g font-family="sans-serif"><rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="10" y="22" font-size="14">{escape(title)}</text>',
        *(_bar(row, _BASE_PX + _BAR_PX * index) for index, row in enumerate(rows)),
        f'<line x1="{line}" x2="{line}" y1="{_BASE_PX - 6}" y2="{height - 18}" stroke="#333"/>',
        f'<text x="{line}" y="{height - 5}" text-anchor="middle">honest: 100 %</text></g></svg>',
    ]
    return "\n".join(parts) + "\n"


def _bar(row: Row, top: int) -> str:
    length = min(row.all_ppht, _WHOLE * 5 // 4) * _UNIT_PX // _WHOLE
    colour = "#c0392b" if row.pays else "#2e7d6b"
    return (
        f'<text x="{_LABEL_PX - 8}" y="{top + 13}" text-anchor="end">{escape(row.strategy)}</text>'
        f'<rect x="{_LABEL_PX}" y="{top}" width="{length}" height="16" fill="{colour}"/>'
        f'<text x="{_LABEL_PX + 6}" y="{top + 12}" fill="#fff">{_percent(row.all_ppht)}</text>'
    )


def _row(strategy: Strategy, income: Income, honest: Income) -> Row:
    return Row(
        strategy.name,
        _ratio(income.ours, honest.ours),
        _ratio(income.our_miners, honest.our_miners),
        _ratio(income.our_validators, honest.our_validators),
    )


def _ratio(value: float, of: float) -> int:
    return round(_WHOLE * value / of) if of > 0 else 0


def _percent(ppht: int) -> str:
    return f"{ppht / 1000:.1f} %"
