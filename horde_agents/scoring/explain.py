"""Tells in plain lines how a miner's points and weight came about; at most 100 columns."""

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Final

from horde_agents.scoring.result import ClassScore, MinerScore, Result

WIDTH: Final = 100
_PPB_OF_PERCENT: Final = 10_000_000
#: Outcomes that have lines of their own.
_TOLD: Final = frozenset({"synthetic passed", "synthetic excused", "organic passed"})


def explained(result: Result, miner: MinerScore) -> Sequence[str]:
    """The lines about one miner."""
    return [line[:WIDTH] for line in (*_head(result, miner), *_classes(miner))]


def overview(result: Result) -> Sequence[str]:
    """One line for each miner, the largest weight first."""
    rows = sorted(result.miners, key=lambda miner: (-miner.weight, miner.hotkey))
    lines = [f"cycle {result.cycle} of netuid {result.netuid}: {len(result.uids)} UIDs have a weight"]
    return [*lines, *(_row(miner) for miner in rows)]


def _row(miner: MinerScore) -> str:
    uid = "-" if miner.uid is None else str(miner.uid)
    why = f"  {miner.dropped}" if miner.dropped else ""
    line = f"{uid:>5}  {miner.hotkey:<48}  {miner.weight:>5}  {_percent(miner.share_ppb):>12}{why}"
    return line[:WIDTH]


def _head(result: Result, miner: MinerScore) -> Iterator[str]:
    uid = "no UID" if miner.uid is None else f"UID {miner.uid}"
    yield f"{uid}, hotkey {miner.hotkey}"
    if miner.coldkey:
        yield f"coldkey {miner.coldkey}"
    yield f"cycle {result.cycle} of netuid {result.netuid}: weight {miner.weight} of 65535"
    yield f"  {_percent(miner.share_ppb):>14}  of the whole for its work"
    if miner.burn_ppb:
        burns = _places(str(Fraction(result.burn_rate) * 100), 4)
        yield f"  {_percent(miner.burn_ppb):>14}  as a burn hotkey: {burns} % of the whole burns"
    if miner.dropped:
        yield f"  Nothing counts: {miner.dropped}."


def _classes(miner: MinerScore) -> Iterator[str]:
    for score in miner.classes:
        yield ""
        yield score.executor_class
        yield from _points(score)
        yield from _share(score)


def _points(score: ClassScore) -> Iterator[str]:
    yield _line(score.synthetic_passed, "synthetic jobs passed")
    if score.synthetic_excused:
        yield _line(score.synthetic_excused, "synthetic jobs excused")
    if score.above_executor_limit:
        yield _line(-score.above_executor_limit, "above the limit of executors of a batch")
    topped = f", {score.organic_users_topped_up} of them topped up to 1" * bool(score.organic_users_topped_up)
    yield _line(score.organic_points, f"organic work of {_many(score.organic_users, 'user')}{topped}")
    allowance = f"allowance on {_many(score.slots, 'slot')}"
    if score.allowance_bit:
        yield _line(score.allowance_points, f"{allowance}: no more organic points than this")
    else:
        yield f"  {'':>14}  {allowance}: {_places(score.allowance_points, 4)} points, not reached"
    yield f"  {'x ' + _places(score.bonus, 4):>14}  dancing: {score.bonus_why}"
    if rest := _without_points(score.outcomes.items()):
        yield f"  {'':>14}  without points: {rest}"


def _share(score: ClassScore) -> Iterator[str]:
    class_points = _places(score.class_points, 4)
    yield f"  {'= ' + _places(score.points, 4):>14}  points, of {class_points} in the class"
    weight = _places(str(Fraction(score.class_weight) * 100), 4)
    if Fraction(score.class_weight):
        yield f"  {_percent(score.share_ppb):>14}  of the whole: the class has {weight} % of it"
    else:
        yield f"  {_percent(score.share_ppb):>14}  of the whole: the class has no weight"


def _without_points(outcomes: Iterable[tuple[str, int]]) -> str:
    rest = sorted((name, many) for name, many in outcomes if name not in _TOLD)
    return ", ".join(f"{many} {name.replace('_', ' ')}" for name, many in rest)


def _line(points: int | str, what: str) -> str:
    return f"  {_places(str(points), 4):>14}  {what}"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _percent(ppb: int) -> str:
    return f"{ppb // _PPB_OF_PERCENT}.{ppb % _PPB_OF_PERCENT:07} %"


def _places(exact: str, places: int) -> str:
    """A number with so many decimals at most, cut off; exact where it ends before."""
    value = Fraction(exact)
    whole, rest = divmod(abs(value.numerator) * 10**places // value.denominator, 10**places)
    sign = "-" if value < 0 else ""
    return f"{sign}{whole}.{rest:0{places}}".rstrip("0").rstrip(".")
