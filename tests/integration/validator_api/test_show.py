"""``horde validator show …`` against a real API: tables of 100 columns at most, refusals in a sentence."""

import asyncio
import json
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from horde_agents.cli.app import app
from horde_agents.cli.columns import WIDTH, columns
from horde_agents.clients.validator_api import (
    ValidatorAway,
    ValidatorRefused,
    validator_api,
)
from horde_agents.runtime.health import listening
from horde_agents.scoring.facts import Outcome, Work
from horde_agents.store.tables import batch_jobs, batches, cycle_scores, verdicts, weight_settings
from horde_agents.store.verdicts import Verdict, append
from tests.fixtures.validator_api import (
    NOON,
    Api,
    batch,
    batch_job,
    score,
    uuid_of,
    verdict,
    weights,
)


async def _show(api: Api, *words: str, key: str = "permitted", more: tuple[str, ...] = ()) -> Result:
    whom = ("--url", f"http://127.0.0.1:{api.port}", "--hotkey-file", str(api.folder / f"{key}.hotkey"))
    command = ["validator", "show", *whom, *more, *words]
    return await asyncio.to_thread(CliRunner().invoke, app, command)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (("status",), "next seat"),
        (("batches",), uuid_of(1)),
        (("batches", uuid_of(1)), "3 passed"),
        (("scores",), "is not registered"),
        (("scores", "3"), "weight 65535 of 65535"),
        (("verdicts",), "passed"),
        (("shares",), "60,000 TAO"),
        (("weights",), "confirmed"),
    ],
)
async def test_every_view_fits_a_terminal(api: Api, words: tuple[str, ...], shown: str) -> None:
    await api.add(batches, *(batch(number) for number in (1, 2)))
    await api.add(batch_jobs, *(batch_job(n, 1, why="long " * 50) for n in range(100, 103)))
    await api.add(cycle_scores, score(7))
    await api.add(verdicts, *(verdict(number, why="x" * 300) for number in range(1, 4)))
    await api.add(weight_settings, weights(7, why="y" * 300))
    api.sources.why_no_batch = lambda: "z" * 300
    result = await _show(api, *words)
    assert result.exit_code == 0, result.output
    assert shown in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= WIDTH


async def test_an_empty_validator_is_shown_too(api: Api) -> None:
    for words in (("status",), ("batches",), ("verdicts",), ("shares",), ("weights",)):
        result = await _show(api, *words)
        assert result.exit_code == 0, result.output


def _honest(number: int) -> Verdict:
    work = Work(uuid_of(number), True, "", "5Miner", "always_on.test", "5User", Outcome.PASSED, 5, 6)
    return Verdict(work, uuid_of(number), 7, "bien exécuté", NOON)


async def test_a_log_that_was_changed_is_found_by_its_reader(api: Api) -> None:
    await api.add(weight_settings, weights(7))
    await api.store.writer.run(partial(append, verdict=_honest(1)))
    await api.store.writer.run(partial(append, verdict=_honest(2)))
    result = await _show(api, "verdicts", "--verify")
    assert (result.exit_code, result.stdout) == (0, "Every hash of the log fits.\n")
    await api.add(verdicts, verdict(3))
    result = await _show(api, "verdicts", "--verify")
    assert (result.exit_code, result.stdout) == (1, "Verdict 3 has another hash than its content.\n")


async def test_a_score_of_another_version_is_shown_as_it_is(api: Api) -> None:
    await api.add(cycle_scores, {**score(7), "result_json": '{"version": 2, "of": {"uid\\u001b[2J": [1]}}'})
    await api.add(weight_settings, weights(7))
    whole, one = await _show(api, "scores"), await _show(api, "scores", "3")
    assert "version: 2" in whole.stdout
    assert "\x1b" not in whole.stdout
    assert "another version" in one.stdout


async def test_a_uid_that_did_no_work_is_told_so(api: Api) -> None:
    await api.add(cycle_scores, score(7))
    await api.add(weight_settings, weights(7))
    assert "UID 4 did no work in cycle 7." in (await _show(api, "scores", "4")).stdout
    told = json.loads((await _show(api, "scores", "3", "--json")).stdout)
    assert told["explanation"]["weight"] == 65_535


async def test_json_is_what_the_api_says(api: Api) -> None:
    await api.add(verdicts, *(verdict(number) for number in range(1, 4)))
    await api.add(weight_settings, weights(7))
    result = await _show(api, "verdicts", "--json", "--after", "1", "--limit", "1")
    told = json.loads(result.stdout)
    assert ([row["number"] for row in told["items"]], told["next_cursor"]) == ([2], 2)


async def test_the_operator_asks_by_the_settings_file(api: Api) -> None:
    await api.start(api_trusts_loopback=False)
    config = api.folder / "validator.toml"
    config.write_text(f'hotkey_file = "{api.folder}/validator.hotkey"\napi_port = {api.port}\n')
    command = ["validator", "show", "--config", str(config), "status", "--json"]
    result = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["hotkey"] == api.signer.hotkey


async def test_a_reader_without_a_permit_is_told_so(api: Api) -> None:
    result = await _show(api, "status", key="stranger")
    assert isinstance(result.exception, ValidatorRefused)
    assert "api_readers" in str(result.exception)


async def test_another_validator_than_the_wanted_one_is_noticed(api: Api) -> None:
    result = await _show(api, "status", more=("--validator", api.stranger.hotkey))
    assert isinstance(result.exception, ValidatorRefused)
    assert result.exception.code == "auth.wrong_receiver"


async def test_a_port_where_nobody_listens_is_named(api: Api) -> None:
    await api.listener.aclose()
    result = await _show(api, "status")
    assert isinstance(result.exception, ValidatorAway)
    assert f"127.0.0.1:{api.port}" in str(result.exception)


@pytest.mark.parametrize("text", ["[]", "not json", "", '{"a":'])
async def test_garbage_instead_of_an_answer_is_a_sentence(text: str) -> None:
    async def garbage(_request: web.Request) -> web.Response:
        return web.Response(text=text)

    server = web.Application()
    server.add_routes([web.get("/{any:.*}", garbage)])
    async with listening(server, "127.0.0.1", 0) as port, validator_api(f"http://127.0.0.1:{port}") as client:
        with pytest.raises(ValidatorAway, match="no validator's API"):
            await client.get("/api/v1/status")


async def test_what_a_validator_writes_does_not_move_the_cursor(api: Api, tmp_path: Path) -> None:
    await api.add(verdicts, verdict(1, why="\x1b[2J\x07evil\u202e"))
    await api.add(weight_settings, weights(7))
    result = await _show(api, "verdicts")
    assert "evil" in result.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(result.stdout)


def test_a_table_without_room_is_cut_and_never_wider() -> None:
    lines = columns(("a", "b"), [("x" * 60, "y" * 90), ("z", 5)])
    assert {len(line) <= WIDTH for line in lines} == {True}
    assert lines[1].endswith("…")
