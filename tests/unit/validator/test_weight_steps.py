"""Every row of the table of a cycle's weights: what the chain says, and what happens then."""

from dataclasses import replace
from typing import Any

import pytest

from horde_agents.agents.validator.weights.steps import Act, Next, OnChain, next_step
from horde_agents.clients.chain_weights import Terms
from horde_agents.runtime.clock import now
from horde_agents.store.weight_settings import WeightMode, WeightSetting, WeightState

_TERMS = Terms(
    block=1000,
    uid=0,
    has_permit=True,
    commit_reveal=False,
    reveal_epochs=1,
    epoch=20,
    rate_limit_blocks=100,
    last_update=700,
    version_key=3,
    uids={"5One": 1, "5Two": 2},
)
_ROW = {1: 20_000, 2: 65_535}
_NEW = WeightSetting(5, 12, (1, 2), ("5One", "5Two"), (20_000, 65_535), now(), mode=WeightMode.TIMELOCKED)
_PLAIN = replace(_NEW, mode=WeightMode.PLAIN, block=990, epoch=20, tries=1)
_SALTED = replace(_NEW, mode=WeightMode.SALTED, state=WeightState.SENT, block=990, epoch=18, tries=1)
_SEALED = replace(_SALTED, mode=WeightMode.TIMELOCKED)


def _step(
    setting: WeightSetting,
    row: dict[int, int] | None = None,
    committed_block: int | None = None,
    newest: int = 5,
    hide: bool = True,
    **terms: Any,
) -> Next:
    return next_step(
        setting, OnChain(replace(_TERMS, **terms), row or {}, committed_block), newest, hide=hide
    )


def test_stored_weights_go_out_plainly_where_nothing_is_hidden() -> None:
    step = _step(_NEW)
    assert (step.act, step.setting.state, step.setting.mode) == (
        Act.SEND,
        WeightState.SENDING,
        WeightMode.PLAIN,
    )
    assert (step.setting.block, step.setting.epoch, step.setting.version_key, step.setting.tries) == (
        1000,
        20,
        3,
        1,
    )


@pytest.mark.parametrize("mode", [WeightMode.SALTED, WeightMode.TIMELOCKED])
def test_stored_weights_go_out_hidden_where_the_subnet_wants_it(mode: WeightMode) -> None:
    assert _step(replace(_NEW, mode=mode), commit_reveal=True).setting.mode is mode


@pytest.mark.parametrize(
    ("terms", "why"),
    [
        ({"uid": None, "has_permit": False}, "not registered"),
        ({"has_permit": False}, "UID 0 has no validator permit; more stake gives one"),
        ({"least_uids": 3}, "wants weights for 3 UIDs, this cycle has 2"),
        ({"last_update": 901}, "set in block 901; the subnet allows it every 100 blocks"),
    ],
)
def test_stored_weights_wait_with_a_reason(terms: dict[str, Any], why: str) -> None:
    step = _step(_NEW, **terms)
    assert (step.act, step.setting.state) == (Act.NOTHING, WeightState.STORED)
    assert why in step.setting.why
    assert _step(step.setting, **terms | {"block": 1000}).setting == step.setting


def test_a_row_goes_out_within_the_largest_part_that_one_uid_may_have() -> None:
    assert _step(_NEW, most_weight=40_000).setting.values == (41_836, 65_535)


def test_a_uid_that_a_stranger_has_taken_over_gets_nothing_and_the_rest_is_in_proportion() -> None:
    three = replace(_NEW, uids=(1, 2, 3), hotkeys=("5One", "5Two", "5Three"), values=(20_000, 65_535, 10))
    sent = _step(three, uids={"5One": 1, "5Stranger": 2, "5Three": 3}).setting
    assert (sent.uids, sent.hotkeys, sent.values) == ((1, 3), ("5One", "5Three"), (65_535, 33))


def test_a_hotkey_that_has_another_uid_by_now_keeps_its_weight() -> None:
    sent = _step(_NEW, uids={"5Two": 0, "5One": 9, "5Stranger": 2}).setting
    assert (sent.uids, sent.hotkeys, sent.values) == ((0, 9), ("5Two", "5One"), (65_535, 20_000))


@pytest.mark.parametrize("uids", [{}, {"5Stranger": 1, "5Other": 2}])
def test_weights_that_only_strangers_would_get_are_not_sent(uids: dict[str, int]) -> None:
    step = _step(_NEW, uids=uids)
    assert (step.act, step.setting.state) == (Act.NOTHING, WeightState.STORED)
    assert "none of the hotkeys that earned these weights is registered any more" in step.setting.why
    assert (step.setting.uids, step.setting.values) == (_NEW.uids, _NEW.values)


def test_a_commit_is_revealed_as_it_was_made_whoever_has_its_uids_by_now() -> None:
    assert _step(_SALTED, committed_block=991, epoch=19, uids={}) == Next(Act.REVEAL, _SALTED)


def test_the_first_block_after_the_rate_limit_sends() -> None:
    assert _step(_NEW, last_update=900).act is Act.SEND


def test_a_hotkey_that_never_set_weights_is_under_no_rate_limit() -> None:
    assert _step(_NEW, last_update=0, block=50).act is Act.SEND


def test_the_knob_off_where_the_subnet_hides_weights_waits_with_the_remedy() -> None:
    step = _step(_NEW, commit_reveal=True, hide=False)
    assert step.act is Act.NOTHING
    assert "the knob commit_reveal is off; turn it on" in step.setting.why


def test_a_refused_row_waits_longer_after_each_refusal() -> None:
    refused = replace(_NEW, block=990, tries=3)
    assert _step(refused, block=997) == Next(Act.NOTHING, refused)
    assert _step(refused, block=998).act is Act.SEND
    assert _step(replace(refused, tries=50), block=1053).act is Act.NOTHING
    assert _step(replace(refused, tries=50), block=1054).act is Act.SEND


def test_a_newer_cycle_takes_the_place_of_stored_weights_and_says_why_they_waited() -> None:
    setting = _step(replace(_NEW, why="no permit"), newest=6).setting
    assert setting.state is WeightState.SUPERSEDED
    assert setting.why == "the weights of cycle 6 took its place; no permit"


@pytest.mark.parametrize("mode", list(WeightMode))
def test_what_was_perhaps_sent_is_looked_for_before_it_is_sent_again(mode: WeightMode) -> None:
    sending = replace(_PLAIN, mode=mode, state=WeightState.SENDING)
    there: dict[str, Any] = {"last_update": 991} if mode is WeightMode.PLAIN else {"committed_block": 991}
    not_there: dict[str, Any] = {"last_update": 990} if mode is WeightMode.PLAIN else {"committed_block": 990}
    assert _step(sending, **there).setting.state is WeightState.SENT
    assert _step(sending, **not_there) == Next(Act.NOTHING, sending)
    assert _step(sending, **not_there, block=1006) == Next(Act.NOTHING, sending)
    lost = _step(sending, **not_there, block=1007)
    assert (lost.act, lost.setting.state) == (Act.NOTHING, WeightState.STORED)


def test_a_plain_row_is_confirmed_once_it_is_settled() -> None:
    sent = replace(_PLAIN, state=WeightState.SENT)
    assert _step(sent, _ROW, last_update=999).setting is sent
    assert _step(sent, _ROW, last_update=998).setting.state is WeightState.CONFIRMED


def test_a_plain_row_that_a_reorganisation_took_back_is_sent_again() -> None:
    again = _step(replace(_PLAIN, state=WeightState.SENT), last_update=700).setting
    assert (again.state, again.why) == (WeightState.STORED, "what was sent is no longer in the chain")


@pytest.mark.parametrize(("tries", "state"), [(1, WeightState.STORED), (3, WeightState.DIFFERS)])
def test_a_row_that_the_chain_keeps_otherwise_is_sent_again_and_left_at_last(
    tries: int, state: WeightState
) -> None:
    sent = replace(_PLAIN, state=WeightState.SENT, tries=tries)
    setting = _step(sent, {1: 5, 2: 65_535}, last_update=991).setting
    assert setting.state is state
    assert "does something else use this hotkey?" in setting.why


def test_the_chain_may_round_a_value_by_one() -> None:
    sent = replace(_PLAIN, state=WeightState.SENT)
    assert _step(sent, {1: 19_999, 2: 65_535}, last_update=991).setting.state is WeightState.CONFIRMED
    assert _step(sent, {1: 19_998, 2: 65_535}, last_update=991).setting.state is WeightState.STORED


def test_a_salted_row_is_revealed_in_its_epoch_and_not_before() -> None:
    assert _step(_SALTED, committed_block=991, epoch=18) == Next(Act.NOTHING, _SALTED)
    assert _step(_SALTED, committed_block=991, epoch=19) == Next(Act.REVEAL, _SALTED)


def test_a_revealed_row_is_confirmed_by_the_chain() -> None:
    assert _step(_SALTED, _ROW, epoch=19).setting.state is WeightState.CONFIRMED


def test_a_reveal_that_was_missed_is_committed_again() -> None:
    missed = _step(_SALTED, committed_block=991, epoch=20).setting
    assert (missed.state, missed.why) == (WeightState.STORED, "the commit was not revealed in its epoch")


def test_a_timelocked_row_is_confirmed_when_it_has_opened() -> None:
    assert _step(_SEALED, committed_block=991, epoch=18) == Next(Act.NOTHING, _SEALED)
    assert _step(_SEALED, committed_block=991, epoch=19) == Next(Act.NOTHING, _SEALED)
    assert _step(_SEALED, _ROW, epoch=19).setting.state is WeightState.CONFIRMED


def test_a_timelocked_row_that_never_opened_is_committed_again() -> None:
    assert _step(_SEALED, epoch=20) == Next(Act.NOTHING, _SEALED)
    assert _step(_SEALED, epoch=21).setting.state is WeightState.STORED


@pytest.mark.parametrize("state", [WeightState.CONFIRMED, WeightState.SUPERSEDED, WeightState.DIFFERS])
def test_what_is_over_stays_over(state: WeightState) -> None:
    over = replace(_NEW, state=state)
    assert _step(over, newest=9) == Next(Act.NOTHING, over)


def test_a_salt_shows_in_no_repr() -> None:
    assert "41234" not in repr(replace(_SALTED, salt=(41_234,)))
