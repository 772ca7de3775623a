"""What operators see and do: the link, health, metrics, own jobs, an orderly stop."""

from collections.abc import Iterable
from typing import Any

import aiohttp
import pytest

from horde_agents.agents.validator.run_job import run_own_job
from horde_agents.agents.validator.settings import MinerEntry, ValidatorSettings
from horde_agents.jobs.events import Declined, Finished, JobEvent, kind_of
from horde_agents.jobs.states import JobState
from horde_agents.protocol.rest_api import Refused
from horde_agents.testing.scripted_miner import ScriptedMiner, Talk, finish
from horde_agents.testing.signed_jobs import job_body
from tests.fixtures.validator import QUICK, Stage


async def fetch(stage: Stage, path: str) -> tuple[int, str]:
    assert stage.validator is not None
    url = f"http://127.0.0.1:{stage.validator.operator_port}{path}"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        return answer.status, await answer.text()


async def test_validator_authenticates_with_the_constant_and_the_challenge(stage: Stage) -> None:
    await stage.start()
    await stage.facilitator.until(lambda: stage.facilitator.heartbeats > 0)
    (auth,) = stage.facilitator.auths
    assert auth.public_key == stage.signer.public_key.hex()
    assert auth.challenge_signature is not None


async def test_facilitator_without_our_challenge_sees_the_stock_authentication(stage: Stage) -> None:
    stage.facilitator.challenge = None
    await stage.start()
    await stage.facilitator.until(lambda: stage.facilitator.heartbeats > 0)
    assert stage.facilitator.auths[0].challenge_signature is None
    assert "challenge_signature" not in stage.facilitator.auths[0].model_fields_set


async def test_refused_validator_keeps_trying_and_is_not_ready(stage: Stage) -> None:
    stage.facilitator.welcomes = False
    await stage.start(await stage.miner(), reconnect_cap_s=0.1)
    await stage.facilitator.until(lambda: stage.facilitator.connections >= 2)
    status, text = await fetch(stage, "/readyz")
    assert status == 503
    assert "facilitator" in text
    stage.facilitator.welcomes = True
    await stage.facilitator.until(lambda: stage.facilitator.heartbeats > 0)
    assert (await fetch(stage, "/readyz"))[0] == 200


async def test_a_validator_is_ready_while_one_of_its_facilitators_is_away(stage: Stage) -> None:
    away = "ws://127.0.0.1:1/ws/v0/"
    await stage.start(await stage.miner(), facilitator_urls=(stage.facilitator.url, away))
    await stage.facilitator.until(lambda: stage.facilitator.heartbeats > 0)
    assert (await fetch(stage, "/readyz"))[0] == 200
    await stage.restart(facilitator_urls=(away, away.replace(":1/", ":2/")))
    status, text = await fetch(stage, "/readyz")
    assert status == 503
    assert (away in text, ":2/ws" in text) == (True, True)


async def test_metrics_count_attempts_stages_and_open_work(stage: Stage) -> None:
    await stage.start(await stage.miner())
    await stage.run()
    await stage.until_idle()
    _, text = await fetch(stage, "/metrics")
    assert 'horde_validator_attempts_total{outcome="completed",reason=""} 1.0' in text
    assert 'horde_validator_stage_seconds_count{reached="executor_ready"} 1.0' in text
    assert "horde_validator_open_jobs 0.0" in text
    assert "horde_validator_outbox_messages{" in text


async def test_drain_lets_the_running_job_end(stage: Stage) -> None:
    async def slow(talk: Talk) -> None:
        await talk.greet()
        uuid = await talk.accept()
        talk.miner.memory["go_on"] = stage.facilitator
        await talk.listen_for(0.3)
        await finish(talk, uuid)

    await stage.start(await stage.miner(script=slow), drain_s=20.0)
    uuid = await stage.submit()
    await stage.facilitator.until(lambda: "accepted" in stage.facilitator.states(uuid))
    await stage.stop()
    assert stage.facilitator.states(uuid)[-1] == "completed"


def own(stage: Stage, miners: Iterable[ScriptedMiner]) -> ValidatorSettings:
    entries = tuple(MinerEntry(hotkey=m.hotkey, host="127.0.0.1", port=m.port) for m in miners)
    return ValidatorSettings(
        **QUICK,
        hotkey_file=stage.folder / "validator.hotkey",
        database_url=f"sqlite:///{stage.folder}/validator.sqlite3",
        debug_miners=entries,
    )


async def test_own_job_runs_at_the_chosen_miner_beside_the_running_agent(stage: Stage) -> None:
    one, two = await stage.miner("one"), await stage.miner("two")
    await stage.start(one, two)
    heard: list[JobEvent] = []
    outcome = await run_own_job(own(stage, [one, two]), job_body(), two.hotkey, heard.append)
    assert outcome.state is JobState.COMPLETED
    assert isinstance(outcome.event, Finished)
    assert outcome.event.stdout == "hello\n"
    assert [kind_of(event) for event in heard][:2] == ["Received", "Accepted"]
    assert heard[-1] == outcome.event
    (attempt,) = await stage.attempts(outcome.uuid)
    assert attempt.miner_hotkey == two.hotkey
    assert stage.facilitator.updates == []


async def test_own_job_is_routed_when_no_miner_is_chosen(stage: Stage) -> None:
    miner = await stage.miner()
    outcome = await run_own_job(own(stage, [miner]), job_body(), None, _ignore)
    assert outcome.state is JobState.COMPLETED
    nowhere = await run_own_job(own(stage, []), job_body(), None, _ignore)
    assert isinstance(nowhere.event, Declined)


async def test_own_job_that_is_no_job_is_refused_with_the_field(stage: Stage) -> None:
    wrong: dict[str, Any] = job_body(docker_image="NOT AN IMAGE")
    with pytest.raises(Refused, match="docker_image"):
        await run_own_job(own(stage, []), wrong, None, _ignore)


def _ignore(_event: JobEvent) -> None:
    """Nobody listens."""


async def test_a_running_validator_answers_for_itself_over_http(stage: Stage) -> None:
    miner = await stage.miner()
    validator = await stage.start(miner)
    await stage.facilitator.until(lambda: stage.facilitator.heartbeats > 0)
    base = f"http://127.0.0.1:{validator.api_port}/api/v1"
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{base}/status") as answer:
            status = await answer.json()
        async with http.get(f"{base}/manifests") as answer:
            manifests = await answer.json()
    assert (status["hotkey"], status["miners"], status["wrong"]) == (stage.signer.hotkey, 1, {})
    assert [(link["address"], link["is_up"]) for link in status["links"]] == [(stage.facilitator.url, True)]
    assert [(row["miner_hotkey"], row["executors"]) for row in manifests["items"]] == [
        (miner.hotkey, {"always_on.test": 1})
    ]


async def test_a_validator_that_shall_not_serve_its_endpoints_does_not(stage: Stage) -> None:
    validator = await stage.start(api_serves=False)
    assert validator.api_port is None
