"""Who may read: this machine, the own hotkey, hotkeys with a permit or on the list; and nobody by a trick."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from horde_agents.agents.validator.api.access import ANYONE, Access
from horde_agents.agents.validator.api.gate import Gate
from horde_agents.agents.validator.api.pace import Pace
from horde_agents.agents.validator.api.refusals import ApiRefused
from horde_agents.agents.validator.api.replays import MOST_EACH, Replays
from horde_agents.protocol.btauth import AHEAD_NS, BACK_NS, AuthWrong
from horde_agents.runtime.held_peers import HOLD_S
from tests.fixtures.validator_api import Api

STATUS = "/api/v1/status"
AWAY = {"X-Forwarded-For": "203.0.113.9"}


async def test_a_request_of_this_machine_needs_no_signature(api: Api) -> None:
    answer = await api.get(STATUS)
    assert (answer.status, answer.body["hotkey"]) == (200, api.signer.hotkey)


async def test_an_unsigned_request_that_a_proxy_passed_on_is_refused(api: Api) -> None:
    answer = await api.get(STATUS, headers=AWAY)
    assert (answer.status, answer.code) == (401, "auth.missing")
    assert api.signer.hotkey in answer.body["error"]


async def test_an_unsigned_request_under_a_foreign_name_is_refused(api: Api) -> None:
    answer = await api.get(STATUS, headers={"Host": "rebound.example:9112"})
    assert answer.code == "auth.missing"


@pytest.mark.parametrize("host", ["localhost:9112", "127.0.0.1", "[::1]:9112"])
async def test_this_machine_has_several_names(api: Api, host: str) -> None:
    assert (await api.get(STATUS, headers={"Host": host})).status == 200


async def test_without_trust_in_loopback_even_this_machine_signs(api: Api) -> None:
    await api.start(api_trusts_loopback=False)
    assert (await api.get(STATUS)).code == "auth.missing"
    assert (await api.get(STATUS, api.signer)).status == 200


@pytest.mark.parametrize(
    ("readers", "permitted", "stranger"),
    [("metagraph", 200, 403), ("the stranger", 403, 200), ("anyone", 200, 200)],
)
async def test_readers_are_as_configured(api: Api, readers: str, permitted: int, stranger: int) -> None:
    named = (api.stranger.hotkey,) if readers == "the stranger" else readers
    await api.start(api_trusts_loopback=False, api_readers=named)
    assert (await api.get(STATUS, api.signer)).status == 200
    assert (await api.get(STATUS, api.permitted)).status == permitted
    assert (await api.get(STATUS, api.stranger)).status == stranger
    assert (await api.get(STATUS)).status == (200 if readers == "anyone" else 401)


async def test_a_hotkey_that_lost_its_permit_reads_no_more(api: Api) -> None:
    assert (await api.get(STATUS, api.permitted)).status == 200
    api.sources.directory.replace([], {})
    assert (await api.get(STATUS, api.permitted)).code == "auth.not_a_reader"


@pytest.mark.parametrize(("late_s", "status"), [(8.0, 200), (12.0, 401), (-1.0, 200), (-4.0, 401)])
async def test_a_stale_request_is_refused(api: Api, late_s: float, status: int) -> None:
    answer = await api.get(STATUS, headers=api.signed(STATUS, api.permitted, late_s=late_s))
    assert (answer.status, answer.code) == (status, "" if status == 200 else "auth.stale")


async def test_a_replayed_request_is_refused(api: Api) -> None:
    headers = api.signed(STATUS, api.permitted)
    assert (await api.get(STATUS, headers=headers)).status == 200
    assert (await api.get(STATUS, headers=headers)).code == "auth.replayed"


async def test_a_request_signed_for_another_validator_is_refused(api: Api) -> None:
    headers = api.signed(STATUS, api.permitted, receiver=api.stranger.hotkey)
    assert (await api.get(STATUS, headers=headers)).code == "auth.wrong_receiver"


@pytest.mark.parametrize("changed", ["path", "query", "method", "hotkey", "nonce"])
async def test_a_signature_covers_all_of_the_request(api: Api, changed: str) -> None:
    target = "/api/v1/verdicts?limit=5"
    headers = api.signed(target, api.permitted)
    asked, method = target, "GET"
    if changed == "path":
        asked = "/api/v1/weights?limit=5"
    elif changed == "query":
        asked = "/api/v1/verdicts?limit=6"
    elif changed == "method":
        headers = api.signed(target, api.permitted, method="HEAD")
    elif changed == "hotkey":
        headers["X-Bittensor-Hotkey"] = api.signer.hotkey
    else:
        headers["X-Bittensor-Nonce"] = str(int(headers["X-Bittensor-Nonce"]) + 1)
    assert (await api.get(asked, headers=headers, method=method)).code == "auth.signature_invalid"


@pytest.mark.parametrize(
    ("header", "value", "code"),
    [
        ("X-Bittensor-Version", "2", "auth.malformed"),
        ("X-Bittensor-Crypto", "ed25519", "auth.malformed"),
        ("X-Bittensor-Nonce", "-5", "auth.malformed"),
        ("X-Bittensor-Nonce", "9" * 5000, "auth.malformed"),
        ("X-Bittensor-Nonce", "٣", "auth.malformed"),
        ("X-Bittensor-Hotkey", "5" * 5000, "auth.malformed"),
        ("X-Bittensor-Hotkey", "nobody", "auth.signature_invalid"),
        ("X-Bittensor-Signature", "0x12", "auth.signature_invalid"),
        ("X-Bittensor-Signature", "zz", "auth.signature_invalid"),
    ],
)
async def test_a_malformed_signature_is_refused_in_a_sentence(
    api: Api, header: str, value: str, code: str
) -> None:
    answer = await api.get(STATUS, api.permitted, {header: value})
    assert (answer.status, answer.code) == (401, code)
    assert answer.body["error"] == answer.body["detail"] != ""


async def test_a_signature_that_is_wrong_is_refused_even_from_this_machine(api: Api) -> None:
    headers = api.signed(STATUS, api.permitted, receiver=api.stranger.hotkey)
    assert (await api.get(STATUS, headers=headers)).status == 401


async def test_the_stock_sdk_signs_what_we_take(api: Api) -> None:
    http_auth = pytest.importorskip("bittensor.http_auth")
    target = "/api/v1/verdicts?limit=5"
    headers = http_auth.sign(
        api.permitted.keypair, method="GET", path=target, receiver_ss58=api.signer.hotkey
    )
    assert (await api.get(target, headers=headers)).status == 200


async def test_what_we_sign_the_stock_sdk_takes(api: Api) -> None:
    http_auth = pytest.importorskip("bittensor.http_auth")
    headers = api.signed(STATUS, api.permitted)
    caller = http_auth.verify(headers, b"", method="GET", path=STATUS, self_hotkey_ss58=api.signer.hotkey)
    assert caller.hotkey_ss58 == api.permitted.hotkey


async def test_a_flood_of_refused_requests_is_slowed_down(api: Api) -> None:
    async with asyncio.TaskGroup() as group:
        flood = [group.create_task(api.get(STATUS, headers=AWAY)) for _ in range(40)]
    codes = [task.result().code for task in flood]
    assert set(codes) == {"auth.missing", "peer.slow_down"}
    assert codes.count("auth.missing") <= 8
    slowed = next(task.result() for task in flood if task.result().code == "peer.slow_down")
    assert (slowed.status, slowed.headers["Retry-After"]) == (429, str(int(HOLD_S) + 1))


async def test_a_flood_through_a_proxy_does_not_shut_the_operator_out(api: Api) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(api.get(STATUS, headers=AWAY))
        answers = [await api.get(STATUS) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5


async def test_a_flood_through_a_proxy_does_not_shut_signed_readers_out(api: Api) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(api.get(STATUS, headers=AWAY))
        answers = [await api.get(STATUS, api.permitted, AWAY) for _ in range(5)]
    assert [answer.status for answer in answers] == [200] * 5


async def test_a_flood_of_wrong_signatures_is_slowed_down_too(api: Api) -> None:
    wrong = AWAY | api.signed(STATUS, api.permitted, receiver=api.stranger.hotkey)
    async with asyncio.TaskGroup() as group:
        flood = [group.create_task(api.get(STATUS, headers=wrong)) for _ in range(40)]
    codes = [task.result().code for task in flood]
    assert codes.count("auth.wrong_receiver") <= 8
    assert codes.count("peer.slow_down") == 40 - codes.count("auth.wrong_receiver")


async def test_a_reader_that_asks_too_often_is_told_when_to_come_back(api: Api) -> None:
    await api.start(api_requests_per_minute=3)
    answers = [await api.get(STATUS, api.permitted) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 21
    assert (await api.get(STATUS, api.signer)).status == 200


async def test_all_addresses_of_an_ipv6_network_are_one_reader(api: Api) -> None:
    access = Access("5Own", ANYONE, trusts_loopback=True, stake_rao=dict)
    gate = Gate(api.sources, access, Pace(3), 1.0)

    async def fine(_: web.Request) -> web.StreamResponse:
        return web.Response()

    def asked(address: str) -> web.Request:
        return make_mocked_request("GET", "/api/v1/openapi.json").clone(remote=address)

    names = {access.reader(asked(f"2001:db8:0:7::{number:x}"))[1] for number in range(1, 5)}
    assert names == {"2001:db8:0:7::/64"}
    unsigned = gate.unsigned(fine)
    for number in range(3):
        await unsigned(asked(f"2001:db8:0:7::{number:x}"))
    with pytest.raises(ApiRefused, match="More than 3 requests a minute"):
        await unsigned(asked("2001:db8:0:7:ffff::1"))
    await unsigned(asked("2001:db8:0:8::1"))
    await unsigned(asked("::ffff:192.0.2.7"))
    await unsigned(asked("::ffff:192.0.2.8"))


def test_remembered_requests_are_bounded_and_forgotten() -> None:
    replays, now_ns = Replays(), 10**18
    for number in range(MOST_EACH):
        replays.check("one", now_ns + number, now_ns)
    with pytest.raises(AuthWrong, match="too many"):
        replays.check("one", now_ns - 1, now_ns)
    replays.check("other", now_ns, now_ns)
    later_ns = now_ns + BACK_NS + AHEAD_NS
    with pytest.raises(AuthWrong, match="was used"):
        replays.check("other", now_ns, later_ns)
    replays.check("one", later_ns, later_ns + 1)
