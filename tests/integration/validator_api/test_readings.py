"""What is read, on SQLite and PostgreSQL: pages that stay whole, and nothing that is secret."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import pytest
from aiohttp import web

from horde_agents.agents.validator.api.openapi import ENDPOINTS
from horde_agents.agents.validator.api.openness import SHOWN_AFTER_CYCLES
from horde_agents.agents.validator.api.receipts import receipt_page_routes
from horde_agents.agents.validator.api.sources import BlockSpan
from horde_agents.scoring.configuration import Configuration
from horde_agents.store.tables import (
    batch_jobs,
    batches,
    cycle_scores,
    manifests,
    receipts,
    verdicts,
    weight_settings,
)
from tests.fixtures.validator_api import (
    NOON,
    SECRET,
    Api,
    batch,
    batch_job,
    receipt,
    score,
    uuid_of,
    verdict,
    weights,
)


async def test_status_tells_where_the_validator_stands(any_api: Api) -> None:
    api = any_api
    await api.add(batches, batch(1), batch(2, fired=False))
    await api.add(weight_settings, weights(6))
    api.sources.block_number = lambda: 5_000
    api.sources.cycle = lambda: BlockSpan(7, 4_900, 5_621)
    api.sources.seat = lambda: BlockSpan(7, 4_960, 4_990)
    api.sources.next_seat = lambda: BlockSpan(8, 5_700, 5_730)
    api.sources.links = lambda: {"ws://u:hunter2@f/ws": None, "ws://g/ws": "no answer"}
    api.sources.checks = {"store": lambda: "disk full", "chain": lambda: None}
    await api.add(weight_settings, weights(5, why="wss://u:hunter2@chain:443 is away"))
    shown = (await api.get("/api/v1/status")).body
    assert shown["block_number"] == 5_000
    assert shown["cycle"] == {"cycle": 7, "first_block": 4_900, "last_block": 5_621}
    assert shown["next_seat"] == {"cycle": 8, "first_block": 5_700, "last_block": 5_730}
    assert shown["last_batch"]["uuid"] == uuid_of(1)
    assert (shown["weights"]["cycle"], shown["weights"]["state"]) == (6, "confirmed")
    assert shown["wrong"] == {"store": "disk full"}
    assert [(link["is_up"], link["why"]) for link in shown["links"]] == [(True, None), (False, "no answer")]
    api.sources.links = lambda: {"ws://u:hunter2@f/ws": "ws://u:hunter2@f/ws: no answer"}
    api.sources.checks = {"wss://u:hunter2@chain": lambda: "wss://u:hunter2@chain is away"}
    for target in ("/api/v1/status", "/api/v1/weights"):
        assert "hunter2" not in (await api.get(target)).text


async def test_only_the_operator_is_told_why_there_is_no_batch(api: Api) -> None:
    api.sources.why_no_batch = lambda: "http://u:hunter2@s3 is away"
    assert (await api.get("/api/v1/status")).body["why_no_batch"] == "http://u:[hidden]@s3 is away"
    other = await api.get("/api/v1/status", api.permitted, {"X-Forwarded-For": "203.0.113.9"})
    assert (other.status, other.body["why_no_batch"]) == (200, None)


async def test_status_of_an_empty_validator_is_answered(any_api: Api) -> None:
    shown = (await any_api.get("/api/v1/status")).body
    assert (shown["block_number"], shown["last_batch"], shown["weights"]) == (None, None, None)


async def test_verdicts_keep_their_order_while_more_are_appended(any_api: Api) -> None:
    api = any_api
    await api.add(verdicts, *(verdict(number) for number in range(1, 8)))
    first = (await api.get("/api/v1/verdicts?limit=3")).body
    await api.add(verdicts, *(verdict(number) for number in range(8, 10)))
    seen = [row["attempt_uuid"] for row in first["items"]]
    following = (await api.get(f"/api/v1/verdicts?limit=500&cursor={first['next_cursor']}")).body
    seen += [row["attempt_uuid"] for row in following["items"]]
    assert seen == [uuid_of(number) for number in range(1, 10)]
    assert [row["attempt_uuid"] for row in await api.pages("/api/v1/verdicts?limit=2")] == seen
    assert following["next_cursor"] is None


async def test_every_verdict_names_the_hash_before_it_whatever_was_asked_for(any_api: Api) -> None:
    await any_api.add(verdicts, *(verdict(number, number % 2) for number in range(1, 6)))
    shown = await any_api.pages("/api/v1/verdicts?limit=2&cycle=1")
    assert [int(row["previous_sha256"] or "0", 16) for row in shown] == [0, 2, 4]


async def test_the_log_ends_for_others_before_its_first_verdict_that_is_not_open(any_api: Api) -> None:
    api = any_api
    await api.add(weight_settings, weights(7))
    await api.add(verdicts, verdict(1, 7), verdict(2, 8), verdict(3, 7))
    shown = await api.pages("/api/v1/verdicts", signer=api.permitted)
    assert [row["attempt_uuid"] for row in shown] == [uuid_of(1)]
    await api.add(weight_settings, weights(8))
    shown = await api.pages("/api/v1/verdicts?cycle=7&limit=1", signer=api.permitted)
    assert [row["attempt_uuid"] for row in shown] == [uuid_of(1), uuid_of(3)]


async def test_batches_are_paged_the_last_fired_first_while_more_fire(any_api: Api) -> None:
    api = any_api
    await api.add(batches, *(batch(number) for number in range(1, 6)))
    first = (await api.get("/api/v1/batches?limit=2")).body
    await api.add(batches, batch(6))
    rest: list[Any] = []
    cursor = first["next_cursor"]
    while cursor is not None:
        page = (await api.get(f"/api/v1/batches?limit=2&cursor={cursor}")).body
        rest += page["items"]
        cursor = page["next_cursor"]
    seen = [row["uuid"] for row in [*first["items"], *rest]]
    assert seen == [uuid_of(number) for number in (5, 4, 3, 2, 1)]


async def test_batches_fired_at_one_instant_are_all_paged(any_api: Api) -> None:
    await any_api.add(batches, *(batch(number, fired_at=NOON) for number in range(1, 6)))
    shown = await any_api.pages("/api/v1/batches?limit=1")
    assert [row["uuid"] for row in shown] == [uuid_of(number) for number in (5, 4, 3, 2, 1)]


async def test_a_batch_that_has_not_fired_does_not_exist(any_api: Api) -> None:
    api = any_api
    await api.add(batches, batch(1, fired=False))
    await api.add(batch_jobs, batch_job(100, 1))
    await api.add(receipts, receipt(100, receipt_type="JobStartedReceipt"), receipt(200))
    assert (await api.get("/api/v1/batches")).body["items"] == []
    assert (await api.get(f"/api/v1/batches/{uuid_of(1)}")).status == 404
    assert (await api.get("/api/v1/status")).body["last_batch"] is None
    listed = await api.pages("/api/v1/receipts")
    assert [row["job_uuid"] for row in listed] == [uuid_of(200)]
    assert await api.pages(f"/api/v1/receipts?job={uuid_of(100)}") == []


async def test_a_fired_batch_shows_its_jobs_in_pages(any_api: Api) -> None:
    api = any_api
    await api.add(batches, batch(1))
    jobs = [batch_job(number, 1) for number in range(100, 105)]
    await api.add(batch_jobs, *jobs, batch_job(200, 2))
    target, seen = f"/api/v1/batches/{uuid_of(1)}?limit=2", list[str]()
    shown = (await api.get(target)).body
    while True:
        seen += [job["attempt_uuid"] for job in shown["jobs"]]
        if shown["next_cursor"] is None:
            break
        shown = (await api.get(f"{target}&cursor={shown['next_cursor']}")).body
    assert seen == [uuid_of(number) for number in range(100, 105)]
    assert shown["outcomes"] == {"passed": 5}


async def test_outcomes_of_a_running_batch_are_not_told(any_api: Api) -> None:
    api = any_api
    await api.add(batches, batch(1, state="running", ended_at=None))
    await api.add(batch_jobs, batch_job(100, 1))
    shown = (await api.get(f"/api/v1/batches/{uuid_of(1)}")).body
    assert (shown["outcomes"], shown["jobs"][0]["outcome"], shown["jobs"][0]["why"]) == (None, None, None)


async def test_others_see_a_cycle_once_the_chain_shows_its_weights(any_api: Api) -> None:
    api = any_api
    await api.add(cycle_scores, score(7), score(8))
    await api.add(verdicts, verdict(1, 7), verdict(2, 8))
    await api.add(weight_settings, weights(7, "confirmed"), weights(8, "sent"))
    await api.add(batches, batch(1, 7), batch(2, 8))
    await api.add(batch_jobs, batch_job(100, 1), batch_job(200, 2))
    other: dict[str, Any] = {"signer": api.permitted}

    assert (await api.get("/api/v1/scores/latest", **other)).body["cycle"] == 7
    assert (await api.get("/api/v1/scores/8", **other)).status == 404
    assert (await api.get("/api/v1/scores/8/3", **other)).status == 404
    assert [row["cycle"] for row in await api.pages("/api/v1/scores", **other)] == [7]
    assert [row["cycle"] for row in await api.pages("/api/v1/verdicts", **other)] == [7]
    assert [row["values"] for row in await api.pages("/api/v1/weights?limit=1", **other)] == [
        None,
        {"1": 65535, "2": 4711},
    ]
    assert (await api.get(f"/api/v1/batches/{uuid_of(2)}", **other)).body["outcomes"] is None
    assert (await api.get(f"/api/v1/batches/{uuid_of(1)}", **other)).body["outcomes"] == {"passed": 1}
    assert (await api.get("/api/v1/receipts?cycle=8", **other)).status == 404

    assert (await api.get("/api/v1/scores/latest")).body["cycle"] == 8
    assert [row["cycle"] for row in await api.pages("/api/v1/verdicts")] == [7, 8]
    assert (await api.pages("/api/v1/weights"))[0]["values"] == {"1": 65535, "2": 4711}


@pytest.mark.parametrize("mode", ["plain", "salted", "timelocked"])
async def test_weights_are_open_when_the_chain_has_them_and_not_before(api: Api, mode: str) -> None:
    await api.add(weight_settings, weights(7, "confirmed", mode=mode), weights(8, "sent", mode=mode))
    shown = await api.pages("/api/v1/weights", signer=api.permitted)
    assert [row["values"] is None for row in shown] == [True, False]


async def test_a_cycle_without_weights_is_open_after_a_while(api: Api) -> None:
    await api.add(cycle_scores, score(7), score(7 + SHOWN_AFTER_CYCLES - 1))
    assert await api.pages("/api/v1/scores", signer=api.permitted) == []
    await api.add(cycle_scores, score(7 + SHOWN_AFTER_CYCLES))
    assert [row["cycle"] for row in await api.pages("/api/v1/scores", signer=api.permitted)] == [7]


async def test_scores_are_shown_with_their_explanation(any_api: Api) -> None:
    await any_api.add(cycle_scores, score(7), score(9))
    latest = (await any_api.get("/api/v1/scores/latest")).body
    assert (latest["cycle"], latest["result"]["miners"][0]["uid"]) == (9, 3)
    explained = (await any_api.get("/api/v1/scores/7/3")).body
    assert explained["explanation"] == latest["result"]["miners"][0]
    assert (await any_api.get("/api/v1/scores/7/4")).code == "thing.not_found"
    assert (await any_api.get("/api/v1/scores/8")).code == "thing.not_found"


async def test_users_are_not_named_to_readers_that_did_not_sign(api: Api) -> None:
    await api.start(api_readers="anyone", api_trusts_loopback=False)
    await api.add(verdicts, verdict(1, 7))
    await api.add(weight_settings, weights(7))
    assert [row["user_hotkey"] for row in await api.pages("/api/v1/verdicts")] == [None]
    signed = await api.pages("/api/v1/verdicts", signer=api.permitted)
    assert [row["user_hotkey"] for row in signed] == ["5User"]


async def test_manifests_are_paged_by_miner(any_api: Api) -> None:
    rows = [
        {"miner_hotkey": f"5Miner{n}", "executor_class": name, "executors": n, "seen_at": NOON}
        for n in range(5)
        for name in ("always_on.gpu-24gb", "always_on.test")
    ]
    await any_api.add(manifests, *rows)
    shown = await any_api.pages("/api/v1/manifests?limit=2")
    assert [row["miner_hotkey"] for row in shown] == [f"5Miner{n}" for n in range(5)]
    assert shown[3]["executors"] == {"always_on.gpu-24gb": 3, "always_on.test": 3}


async def test_shares_are_exact_and_usage_is_summed_by_class(any_api: Api) -> None:
    api = any_api

    def fair(stakes_rao: Mapping[str, int], _configuration: Configuration) -> Mapping[str, Fraction]:
        return {hotkey: Fraction(stake, sum(stakes_rao.values())) for hotkey, stake in stakes_rao.items()}

    api.sources.fair_shares = fair
    await api.add(
        verdicts,
        verdict(1, 6),
        verdict(2),
        verdict(3),
        verdict(4, is_organic=False, batch_uuid=uuid_of(1)),
    )
    shown = (await api.get("/api/v1/shares")).body
    assert [(row["validator_hotkey"], row["share"]) for row in shown["shares"]] == [
        (api.signer.hotkey, "3/5"),
        (api.permitted.hotkey, "2/5"),
    ]
    usage = [(row["is_organic"], row["jobs"], row["run_us"]) for row in shown["usage"]]
    assert (shown["cycle"], usage) == (7, [(False, 1, 2_000_000), (True, 2, 4_000_000)])
    assert (await api.get("/api/v1/shares?cycle=6")).body["usage"][0]["jobs"] == 1


async def test_receipts_are_found_by_job_miner_type_and_cycle(any_api: Api) -> None:
    api = any_api
    miner = api.stranger.hotkey
    await api.add(verdicts, verdict(1, 7), verdict(2, 8))
    await api.add(receipts, receipt(1), receipt(2, miner_hotkey=miner), receipt(3, receipt_type="Other"))
    numbers = {
        query: [row["job_uuid"] for row in await api.pages(f"/api/v1/receipts?limit=1&{query}")]
        for query in (f"job={uuid_of(3)}", f"miner={miner}", "type=JobFinishedReceipt", "cycle=7")
    }
    assert list(numbers.values()) == [[uuid_of(3)], [uuid_of(2)], [uuid_of(2), uuid_of(1)], [uuid_of(1)]]


async def test_secrets_are_in_no_answer(any_api: Api) -> None:
    api = any_api
    await api.add(batches, batch(1), batch(2, fired=False))
    await api.add(batch_jobs, batch_job(100, 1), batch_job(200, 2))
    await api.add(weight_settings, weights(7))
    await api.add(cycle_scores, score(7))
    await api.add(verdicts, verdict(100, is_organic=False, batch_uuid=uuid_of(1)))
    await api.add(receipts, receipt(100), receipt(200))
    names = {"uuid": uuid_of(1), "cycle": "7", "uid": "3"}
    for endpoint in ENDPOINTS:
        answer = await api.get(endpoint.path.format(**names))
        assert answer.status == 200, answer.text
        assert SECRET not in answer.text
        assert uuid_of(2) not in answer.text
        assert str(1_000_002) not in answer.text
        assert uuid_of(200) not in answer.text


async def test_pages_that_are_mounted_are_open_to_stock_readers(api: Api) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text=f"page {request.match_info['page']}\n")

    await api.start(receipt_page_routes({"/receipts/{page}.jsonl": page}), api_requests_per_minute=2)
    answer = await api.get("/receipts/12.jsonl", headers={"X-Forwarded-For": "203.0.113.9"})
    assert (answer.status, answer.text) == (200, "page 12\n")
    await api.get("/receipts/12.jsonl")
    assert (await api.get("/receipts/12.jsonl")).status == 429


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/verdicts?limit=0",
        "/api/v1/verdicts?limit=501",
        "/api/v1/verdicts?limit=-1",
        "/api/v1/verdicts?limit=1e3",
        "/api/v1/verdicts?limit=",
        "/api/v1/verdicts?limit=%D9%A3",
        "/api/v1/verdicts?cursor=9223372036854775808",
        "/api/v1/verdicts?cursor=" + "9" * 4000,
        "/api/v1/verdicts?cycle=latest",
        "/api/v1/scores/newest",
        "/api/v1/scores/-1",
        "/api/v1/scores/7/65536",
        "/api/v1/scores/99999999999999999999",
        "/api/v1/batches?cursor=1",
        "/api/v1/batches?cursor=9999999999999999999.x",
        "/api/v1/batches/nonsense",
        "/api/v1/batches/%00",
        "/api/v1/receipts?miner=5Nobody",
        "/api/v1/receipts?job=%00",
        "/api/v1/receipts?job=" + "a" * 65,
        "/api/v1/manifests?cursor=%20",
    ],
)
async def test_a_parameter_out_of_its_range_is_refused_by_name(any_api: Api, target: str) -> None:
    answer = await any_api.get(target)
    assert (answer.status, answer.code) == (400, "parameter.invalid"), answer.text
    assert len(answer.body["error"]) < 300


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/verdicts?cursor=9223372036854775807",
        "/api/v1/verdicts?cycle=9223372036854775807",
        "/api/v1/scores?cursor=9223372036854775807",
        "/api/v1/weights?cursor=0",
        "/api/v1/shares?cycle=9223372036854775807",
        "/api/v1/receipts?cursor=9223372036854775807&cycle=9223372036854775807",
        f"/api/v1/batches?cursor=9999999999999999.{uuid_of(1)}",
        "/api/v1/manifests?cursor=~~~",
    ],
)
async def test_the_largest_values_are_answered(any_api: Api, target: str) -> None:
    assert (await any_api.get(target)).status == 200


async def test_unknown_and_repeated_parameters_are_refused_by_name(api: Api) -> None:
    answer = await api.get("/api/v1/verdicts?limt=5")
    assert (answer.code, "limit" in answer.body["error"]) == ("parameter.unknown", True)
    assert (await api.get("/api/v1/verdicts?limit=5&limit=6")).code == "parameter.unknown"


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "/api/v1/nothing", 404, "request.not_found"),
        ("POST", "/api/v1/status", 405, "request.method"),
        ("DELETE", "/api/v1/verdicts", 405, "request.method"),
    ],
)
async def test_every_refusal_has_one_shape(
    api: Api, method: str, target: str, status: int, code: str
) -> None:
    answer = await api.get(target, method=method)
    assert (answer.status, answer.code) == (status, code)
    assert set(answer.body) == {"error", "code", "detail", "details"}


async def test_a_body_is_refused(api: Api) -> None:
    assert (await api.get("/api/v1/status", data=b"x" * 10_000)).code == "body.unwelcome"


async def test_a_reader_that_has_the_answer_is_told_so(api: Api) -> None:
    first = await api.get("/api/v1/verdicts")
    again = await api.get("/api/v1/verdicts", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.text) == (304, "")
    await api.add(verdicts, verdict(1))
    changed = await api.get("/api/v1/verdicts", headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status == 200


async def test_head_tells_size_and_tag_alone(api: Api) -> None:
    whole = await api.get("/api/v1/status")
    head = await api.get("/api/v1/status", method="HEAD")
    assert (head.status, head.text) == (200, "")
    assert (head.headers["ETag"], head.headers["Content-Length"]) == (
        whole.headers["ETag"],
        str(len(whole.text.encode())),
    )


async def test_an_answer_that_takes_too_long_is_given_up(api: Api) -> None:
    await api.start(api_reading_s=1e-6)
    answer = await api.get("/api/v1/verdicts")
    assert (answer.status, answer.code) == (503, "reading.too_slow")


async def test_a_fault_inside_is_told_by_its_request_id_alone(api: Api) -> None:
    def broken() -> int | None:
        raise RuntimeError(SECRET)

    api.sources.block_number = broken
    answer = await api.get("/api/v1/status")
    assert (answer.status, answer.code) == (500, "internal")
    assert SECRET not in answer.text
