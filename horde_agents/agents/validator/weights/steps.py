"""What to do next for a cycle's weights, by what the chain says. Pure: one table, no waiting, no sending."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from horde_agents.agents.validator.weights.clipping import clipped
from horde_agents.agents.validator.weights.earners import for_earners
from horde_agents.clients.chain_weights import Row, Terms, is_same
from horde_agents.store.weight_settings import WeightMode, WeightSetting, WeightState

#: Blocks after which something that was sent and is in no block has been lost.
_LOST_BLOCKS: Final = 16
#: Blocks after which a row on the chain is taken as settled: a reorganisation may take back younger ones.
_SETTLED_BLOCKS: Final = 2
#: Rows that the chain kept otherwise than sent, before it is left at that.
_MOST_TRIES: Final = 3
#: The longest pause after a refusal; pauses double from two blocks on.
_PAUSE_CAP_BLOCKS: Final = 64


class Act(Enum):
    """What is done with the chain."""

    NOTHING = auto()
    SEND = auto()
    REVEAL = auto()


@dataclass(frozen=True, slots=True)
class OnChain:
    """What the chain has: its terms, this hotkey's row, and whether a commit waits (``committed_block``)."""

    terms: Terms
    row: Mapping[int, int]
    committed_block: int | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """The act, and what the setting is from now on."""

    act: Act
    setting: WeightSetting


def next_step(setting: WeightSetting, chain: OnChain, newest_cycle: int, *, hide: bool) -> Next:
    """One step on the way of ``setting``; ``hide`` when weights are to be committed where the subnet does."""
    match setting.state:
        case WeightState.STORED:
            return _stored(setting, chain, newest_cycle, hide=hide)
        case WeightState.SENDING:
            return _sending(setting, chain)
        case WeightState.SENT if setting.mode is WeightMode.PLAIN:
            return Next(Act.NOTHING, _judged(setting, chain))
        case WeightState.SENT:
            return _hidden(setting, chain)
        case _:
            return Next(Act.NOTHING, setting)


def row_of(setting: WeightSetting) -> Row:
    """The row as the chain client takes it."""
    return Row(setting.uids, setting.values, setting.version_key)


def _stored(setting: WeightSetting, chain: OnChain, newest_cycle: int, *, hide: bool) -> Next:
    terms = chain.terms
    if newest_cycle > setting.cycle:
        why = f"the weights of cycle {newest_cycle} took its place; {setting.why}".rstrip("; ")
        return Next(Act.NOTHING, setting.having(WeightState.SUPERSEDED, why))
    row = for_earners(setting, terms.uids)
    why = _why_wait(row, terms, hide=hide)
    if why:
        return Next(Act.NOTHING, setting.having(WeightState.STORED, why))
    if setting.tries and terms.block - setting.block < min(2**setting.tries, _PAUSE_CAP_BLOCKS):
        return Next(Act.NOTHING, setting)
    mode = setting.mode if setting.mode is not WeightMode.PLAIN else WeightMode.TIMELOCKED
    sending = row.having(
        WeightState.SENDING,
        mode=mode if terms.commit_reveal else WeightMode.PLAIN,
        block=terms.block,
        epoch=terms.epoch,
        values=clipped(row.values, terms.most_weight),
        version_key=terms.version_key,
        tries=setting.tries + 1,
    )
    return Next(Act.SEND, sending)


def _why_wait(setting: WeightSetting, terms: Terms, *, hide: bool) -> str:
    if terms.uid is None:
        return "this hotkey is not registered on the subnet; register it"
    if not terms.has_permit:
        return f"UID {terms.uid} has no validator permit; more stake gives one"
    if not setting.uids:
        return "none of the hotkeys that earned these weights is registered any more"
    if len(setting.uids) < terms.least_uids and setting.uids != (terms.uid,):
        return f"the subnet wants weights for {terms.least_uids} UIDs, this cycle has {len(setting.uids)}"
    if terms.commit_reveal and not hide:
        return "the subnet takes hidden weights only, and the knob commit_reveal is off; turn it on"
    if terms.last_update and terms.block - terms.last_update < terms.rate_limit_blocks:
        every = terms.rate_limit_blocks
        return f"weights were set in block {terms.last_update}; the subnet allows it every {every} blocks"
    return ""


def _sending(setting: WeightSetting, chain: OnChain) -> Next:
    """After a restart or an unclear answer: has it reached the chain?"""
    if setting.mode is WeightMode.PLAIN:
        arrived = chain.terms.last_update > setting.block
    else:
        arrived = chain.committed_block is not None and chain.committed_block > setting.block
    if arrived:
        return Next(Act.NOTHING, setting.having(WeightState.SENT))
    if chain.terms.block - setting.block <= _LOST_BLOCKS:
        return Next(Act.NOTHING, setting)
    return Next(Act.NOTHING, setting.having(WeightState.STORED, "what was sent is in no block"))


def _judged(setting: WeightSetting, chain: OnChain) -> WeightSetting:
    terms = chain.terms
    if terms.last_update <= setting.block:
        return setting.having(WeightState.STORED, "what was sent is no longer in the chain")
    if terms.block - terms.last_update < _SETTLED_BLOCKS:
        return setting
    if is_same(row_of(setting), chain.row):
        return setting.having(WeightState.CONFIRMED)
    why = f"the chain keeps other weights for UID {terms.uid}; does something else use this hotkey?"
    return setting.having(WeightState.STORED if setting.tries < _MOST_TRIES else WeightState.DIFFERS, why)


def _hidden(setting: WeightSetting, chain: OnChain) -> Next:
    due = setting.epoch + chain.terms.reveal_epochs
    waits = chain.committed_block is not None
    if chain.terms.epoch < due:
        return Next(Act.NOTHING, setting)
    if setting.mode is WeightMode.SALTED and waits and chain.terms.epoch == due:
        return Next(Act.REVEAL, setting)
    if not waits and is_same(row_of(setting), chain.row):
        return Next(Act.NOTHING, setting.having(WeightState.CONFIRMED))
    late = 0 if setting.mode is WeightMode.SALTED else 1  # the block that took it may have ended an epoch
    if chain.terms.epoch <= due + late:
        return Next(Act.NOTHING, setting)
    return Next(Act.NOTHING, setting.having(WeightState.STORED, "the commit was not revealed in its epoch"))
