"""Keeps a row with the hotkeys that earned it: between scoring and sending a UID may go to a stranger.

The chain counts no weight that was set before its UID was registered. A row that is sent late, or again, is
newer than that, so that nobody but its sender can tell.
"""

from collections.abc import Mapping
from dataclasses import replace

from horde_agents.agents.validator.weights.clipping import U16
from horde_agents.store.weight_settings import WeightSetting


def for_earners(setting: WeightSetting, uids: Mapping[str, int]) -> WeightSetting:
    """The row by the UIDs that its hotkeys have now, in their order; those that have none are left out.

    The largest value that is left becomes 65,535, the others keep their proportion and 1 at least.
    """
    earned = zip(setting.hotkeys, setting.values, strict=True)
    left = sorted((uids[hotkey], hotkey, value) for hotkey, value in earned if hotkey in uids)
    top = max((value for _, _, value in left), default=U16)
    return replace(
        setting,
        uids=tuple(uid for uid, _, _ in left),
        hotkeys=tuple(hotkey for _, hotkey, _ in left),
        values=tuple(max(1, (2 * value * U16 + top) // (2 * top)) for _, _, value in left),
    )
