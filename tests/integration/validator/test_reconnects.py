"""What is lost on the way is sent again: to the facilitator, to the miner, and after a restart."""

import asyncio

from horde_agents.jobs.states import JobState
from horde_agents.protocol import job_frames as frames
from horde_agents.protocol.validator_miner import V0JobFinishedReceiptRequest
from horde_agents.testing.scripted_miner import STOCK, Talk, finish
from tests.fixtures.validator import Stage


async def cuts_once_after_accepting(talk: Talk) -> None:
    """Drops the first connection in the middle; a miner of ours then waits to be offered again."""
    await talk.greet()
    if talk.miner.memory.get("accepted") is None:
        talk.miner.memory["accepted"] = await talk.accept()
        return
    uuid = talk.miner.memory["accepted"]
    if talk.miner.extensions:
        await talk.accept()
    await finish(talk, uuid)


async def test_attempt_survives_a_cut_connection_to_our_miner(stage: Stage) -> None:
    miner = await stage.miner(script=cuts_once_after_accepting)
    await stage.start(miner)
    uuid = await stage.submit()
    assert (await stage.facilitator.until_final(uuid)).state is JobState.COMPLETED
    offers = miner.of(frames.V0InitialJobRequest)
    assert len(offers) == 2
    assert offers[0] == offers[1]
    assert stage.facilitator.states(uuid).count("accepted") == 1


async def test_attempt_survives_a_cut_connection_to_a_stock_miner_without_a_second_offer(
    stage: Stage,
) -> None:
    miner = await stage.miner(script=cuts_once_after_accepting, extensions=STOCK)
    await stage.start(miner)
    assert (await stage.run()).state is JobState.COMPLETED
    assert len(miner.of(frames.V0InitialJobRequest)) == 1


async def test_cut_after_a_long_connection_is_no_longer_absence(stage: Stage) -> None:
    """The patience with an absent miner counts from the cut, not from the start of the connection."""

    async def cuts_late(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        if len(talk.miner.of(frames.V0InitialJobRequest)) == 1:
            await talk.listen_for(0.6)
            return
        await finish(talk, uuid)

    await stage.start(await stage.miner(script=cuts_late), miner_absence_s=0.5)
    assert (await stage.run()).state is JobState.COMPLETED


async def test_miner_that_stays_away_ends_the_job_before_its_budget(stage: Stage) -> None:
    miner = await stage.miner(script=cuts_once_after_accepting)
    await stage.start(miner, miner_absence_s=0.3)
    uuid = await stage.submit(execution_time_limit=3600)
    await stage.facilitator.until(lambda: "accepted" in stage.facilitator.states(uuid))
    await stage.close(miner)
    job = await stage.facilitator.until_final(uuid)
    assert job.state is JobState.HORDE_FAILED
    details = (stage.facilitator.updates[-1].metadata or {})["horde_failure_details"]
    assert details["reason"] == "miner_connection_failed"


async def test_facilitator_that_drops_the_link_mid_job_hears_everything_later(stage: Stage) -> None:
    async def drops_facilitator(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        await stage.facilitator.until(lambda: "accepted" in stage.all_states())
        stage.facilitator.answers = False
        await stage.facilitator.drop()
        stage.facilitator.answers = True
        await finish(talk, uuid)

    await stage.start(await stage.miner(script=drops_facilitator))
    uuid = await stage.submit()
    job = await stage.facilitator.until_final(uuid)
    assert job.state is JobState.COMPLETED
    assert stage.facilitator.connections >= 2
    assert stage.facilitator.states(uuid)[-4:] == [
        "executor_ready",
        "volumes_ready",
        "execution_done",
        "completed",
    ]


async def test_unanswered_updates_are_sent_again_after_a_restart_in_order(stage: Stage) -> None:
    stage.facilitator.answers = False
    await stage.start(await stage.miner())
    uuid = await stage.submit()
    await stage.facilitator.until_final(uuid)
    first_time = stage.facilitator.states(uuid)
    await stage.stop()
    stage.facilitator.answers = True
    validator = await stage.restart()
    outbox = validator.parts.outboxes[stage.facilitator.url]
    await outbox.until_empty()
    assert stage.facilitator.states(uuid) == first_time * 2


async def test_silent_facilitator_is_connected_anew(stage: Stage) -> None:
    stage.facilitator.answers = False
    validator = await stage.start(await stage.miner(), response_timeout_s=0.2)
    uuid = await stage.submit()
    await stage.facilitator.until(lambda: stage.facilitator.connections >= 2)
    stage.facilitator.answers = True
    await stage.facilitator.until_final(uuid)
    await stage.until_idle()
    async with asyncio.timeout(20):
        await validator.parts.outboxes[stage.facilitator.url].until_empty()


async def test_restarted_validator_goes_on_with_the_open_attempt(stage: Stage) -> None:
    async def waits_for_second_offer(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        if len(talk.miner.of(frames.V0InitialJobRequest)) == 1:
            await talk.listen_for(60)
        await finish(talk, uuid)

    miner = await stage.miner(script=waits_for_second_offer)
    await stage.start(miner)
    uuid = await stage.submit()
    await stage.facilitator.until(lambda: "accepted" in stage.facilitator.states(uuid))
    await stage.stop()
    await stage.restart()
    assert (await stage.facilitator.until_final(uuid)).state is JobState.COMPLETED
    assert len({offer.job_uuid for offer in miner.of(frames.V0InitialJobRequest)}) == 1
    assert len(await stage.attempts(uuid)) == 1


async def test_stage_deadline_survives_a_restart(stage: Stage) -> None:
    async def never_ready(talk: Talk) -> None:
        await talk.greet()
        await talk.accept()
        await talk.listen_for(60)

    await stage.start(await stage.miner(script=never_ready), startup_s=0)
    uuid = await stage.submit()
    await stage.facilitator.until(lambda: "accepted" in stage.facilitator.states(uuid))
    await stage.flushed()
    (before,) = await stage.attempts(uuid)
    await stage.restart()
    job = await stage.facilitator.until_final(uuid)
    assert job.state is JobState.HORDE_FAILED
    (after,) = await stage.attempts(uuid)
    assert after.deadline_at == before.deadline_at


async def test_open_attempt_at_a_vanished_miner_ends_with_a_cause(stage: Stage) -> None:
    async def never_ready(talk: Talk) -> None:
        await talk.greet()
        await talk.accept()
        await talk.listen_for(60)

    await stage.start(await stage.miner(script=never_ready))
    uuid = await stage.submit()
    await stage.facilitator.until(lambda: "accepted" in stage.facilitator.states(uuid))
    await stage.restart(debug_miners=())
    job = await stage.facilitator.until_final(uuid)
    assert job.state is JobState.HORDE_FAILED
    details = (stage.facilitator.updates[-1].metadata or {})["horde_failure_details"]
    assert details["context"]["cause"] == "agent_restarted"


async def test_receipts_are_sent_again_until_the_miner_says_it_has_them(stage: Stage) -> None:
    miner = await stage.miner(acknowledges=False)
    validator = await stage.start(miner, receipt_ack_s=0.1)
    await stage.run()
    await stage.until_idle()
    assert await stage.kept_receipts(miner) == 2
    miner.acknowledges = True
    await validator.polls.ask(validator.parts.directory.miners())
    await stage.flushed()
    assert await stage.kept_receipts(miner) == 0
    assert len(miner.of(V0JobFinishedReceiptRequest)) == 2


async def test_clean_goodbye_acknowledges_receipts_to_a_stock_miner(stage: Stage) -> None:
    miner = await stage.miner(extensions=STOCK)
    await stage.start(miner)
    await stage.run()
    await stage.until_idle()
    assert await stage.kept_receipts(miner) == 0
