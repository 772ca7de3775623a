"""Whether a coldkey has moved executors between its UIDs since the last cycle, by measured counts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Dance:
    """Executors ``moved`` of those a coldkey ``held`` before; ``why_not`` is empty when it counts."""

    moved: int
    held: int
    why_not: str = ""


def dance(
    uids: Sequence[str],
    now: Mapping[str, Mapping[str, int]],
    before: Mapping[str, Mapping[str, int]],
    measured_before: frozenset[str],
    least_share: Fraction,
) -> Dance:
    """The dance of the hotkeys of one coldkey.

    An executor has moved where one UID has fewer of its class and another has more; what appears or
    vanishes has not. A UID without an earlier measurement takes the bonus from all: newcomers, and a
    validator's own gaps, earn nothing.
    """
    moved = sum(_moved(uids, name, now, before) for name in _classes(uids, now, before))
    held = sum(sum(before.get(uid, {}).values()) for uid in uids)
    return Dance(moved, held, _why_not(uids, measured_before, moved, held, least_share))


def _why_not(
    uids: Sequence[str], measured_before: frozenset[str], moved: int, held: int, least_share: Fraction
) -> str:
    if len(uids) < 2:
        return "one UID cannot move executors"
    unmeasured = [uid for uid in uids if uid not in measured_before]
    if unmeasured:
        return f"{unmeasured[0]} was not measured in the cycle before"
    if held == 0 or moved < least_share * held or moved == 0:
        return f"{moved} of {held} executors moved, fewer than the share {least_share}"
    return ""


def _classes(uids: Sequence[str], *counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    return sorted({name for count in counts for uid in uids for name in count.get(uid, {})})


def _moved(
    uids: Sequence[str],
    executor_class: str,
    now: Mapping[str, Mapping[str, int]],
    before: Mapping[str, Mapping[str, int]],
) -> int:
    changes = [
        now.get(uid, {}).get(executor_class, 0) - before.get(uid, {}).get(executor_class, 0) for uid in uids
    ]
    gained = sum(change for change in changes if change > 0)
    lost = -sum(change for change in changes if change < 0)
    return min(gained, lost)
