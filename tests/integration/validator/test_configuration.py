"""The dynamic configuration: what applies, what is refused whole, and what a restart keeps."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import aiohttp
import pytest
from aiohttp import web

from horde_agents.agents.validator.app import Validator
from horde_agents.agents.validator.configuration import LiveConfiguration, Source
from horde_agents.agents.validator.metrics import Metrics
from horde_agents.agents.validator.synthetic.excusing import Excusing
from horde_agents.protocol.signed_configuration import (
    MOST_BYTES,
    ConfigurationRefused,
    read_signed,
    sign_configuration,
)
from horde_agents.protocol.signing import KeypairSigner, to_hex
from horde_agents.protocol.validator_miner import SignedReceipt
from horde_agents.receipts.payloads import JobStarted, Statement, signed_text
from horde_agents.runtime.clock import now
from horde_agents.scoring.canonical import canonical_json
from horde_agents.scoring.configuration import Configuration
from horde_agents.store.engine import Store, open_store
from tests.fixtures.receipt_lines import accepted, progress
from tests.fixtures.validator import Stage
from tests.fixtures.waiting import eventually
from tests.fixtures.web_server import serving

_OWNER = KeypairSigner.from_uri("//owner")
_STRANGER = KeypairSigner.from_uri("//stranger")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite:///{tmp_path}/v.sqlite3") as opened:
        yield opened


def _signed(version: int, signer: KeypairSigner = _OWNER, **knobs: Any) -> bytes:
    return sign_configuration(json.dumps({"version": version, **knobs}).encode(), signer).encode()


async def _live(store: Store, address: str | None = None, *signers: KeypairSigner) -> LiveConfiguration:
    names = frozenset(signer.hotkey for signer in signers or (_OWNER,))
    # a session of no use to a document that is handed in
    live = LiveConfiguration(Source(address, names, 0.05), store, aiohttp.ClientSession(), Metrics())
    await live.load()
    await live.http.close()
    return live


def _refusals(live: LiveConfiguration) -> float:
    return live.metrics.registry.get_sample_value("horde_validator_configuration_refusals_total") or 0.0


async def test_without_a_document_everything_has_its_default(store: Store) -> None:
    assert (await _live(store)).now == Configuration()


async def test_a_signed_document_applies_and_tells_listeners(store: Store) -> None:
    live, heard = await _live(store), list[Configuration]()
    live.listen(heard.append)
    await live.take(_signed(3, burn_rate="0.25"))
    assert live.now == Configuration(version=3, burn_rate="0.25")
    assert heard == [live.now]
    assert live.metrics.registry.get_sample_value("horde_validator_configuration_version") == 3


async def test_the_same_document_again_changes_nothing(store: Store) -> None:
    live, heard = await _live(store), list[Configuration]()
    await live.take(_signed(3))
    live.listen(heard.append)
    await live.take(_signed(3))
    assert heard == []


@pytest.mark.parametrize("version", [1, 4, 5])
async def test_a_version_that_is_not_higher_is_refused(store: Store, version: int) -> None:
    live = await _live(store)
    await live.take(_signed(5, burn_rate="0.25"))
    with pytest.raises(ConfigurationRefused, match=f"Version {version} is not above 5"):
        await live.take(_signed(version, burn_rate="0.5"))
    assert live.now.burn_rate == "0.25"


async def test_an_old_document_played_again_after_a_restart_is_refused(store: Store) -> None:
    live = await _live(store)
    await live.take(_signed(1, burn_rate="0.5"))
    await live.take(_signed(2))
    again = await _live(store)
    with pytest.raises(ConfigurationRefused, match="not above 2"):
        await again.take(_signed(1, burn_rate="0.5"))


async def test_the_last_good_one_survives_a_restart(store: Store) -> None:
    await (await _live(store)).take(_signed(7, organic_s_per_point=60))
    assert (await _live(store)).now.organic_s_per_point == 60


async def test_a_signatory_no_longer_named_loses_what_it_signed(store: Store) -> None:
    live = await _live(store, None, _OWNER, _STRANGER)
    await live.take(_signed(1, burn_rate="0.1"))
    await live.take(_signed(2, _STRANGER, burn_rate="0.9"))
    assert (await _live(store)).now == Configuration(version=1, burn_rate="0.1")


def _document(**changes: Any) -> bytes:
    return canonical_json(json.loads(_signed(9)) | changes).encode()


def _forged() -> bytes:
    value = json.loads(_signed(9))
    value["configuration"]["burn_rate"] = "1"
    return canonical_json(value).encode()


def _without_domain() -> bytes:
    text = canonical_json({"version": 9})
    signature = to_hex(_OWNER.sign(text.encode()))
    return _document(configuration={"version": 9}, signature=signature)


def _badly_signed(knobs: object) -> bytes:
    """Rightly signed by the owner, with knobs that ``sign_configuration`` would not sign."""
    text = canonical_json(knobs)
    signature = to_hex(_OWNER.sign(b"horde dynamic configuration 1\n" + text.encode()))
    return _document(configuration=knobs, signature=signature)


_BAD = {
    "garbage": (b"\xff\x00garbage", "The document"),
    "no object": (b"[1, 2]", "no JSON object"),
    "cut short": (_signed(9)[:-20], "The document"),
    "too long": (b" " * (MOST_BYTES + 1), f"more than {MOST_BYTES} bytes"),
    "nested too deep": (b"[" * 60_000, "The document"),
    "a number of many digits": (b'{"a": ' + b"9" * 6000 + b"}", "The document"),
    "a float": (b'{"configuration": {"version": 1.5}}', "no floats"),
    "a field too many": (_document(more=1), "nothing else"),
    "a field too few": (b'{"configuration": {}}', "nothing else"),
    "a signature that is no text": (_document(signature=5), "must be texts"),
    "a stranger's": (_signed(9, _STRANGER), "not named in the setting configuration_signers"),
    "another's signature": (_document(signatory=_OWNER.hotkey, signature="0x00"), "signature of"),
    "forged": (_forged(), "signature of"),
    "signed as another kind of text": (_without_domain(), "signature of"),
    "an unknown knob": (_badly_signed({"version": 9, "burn": "1"}), "Knob burn is wrong"),
    "a knob of another type": (_badly_signed({"version": 9, "commit_reveal": "yes"}), "Knob commit_reveal"),
    "a number as text": (_badly_signed({"version": "9"}), "Knob version"),
    "a knob out of range": (_badly_signed({"version": 9, "burn_rate": "1.1"}), "is above 1"),
    "weights of nothing": (
        _badly_signed({"version": 9, "class_weights": {"always_on.test": 0}}),
        "sum to nothing",
    ),
    "no weights": (_badly_signed({"version": 9, "class_weights": {}}), "sum to nothing"),
    "a negative weight": (_badly_signed({"version": 9, "class_weights": {"always_on.test": -1}}), "-1"),
    "an unknown class": (_badly_signed({"version": 9, "class_weights": {"gpu": 1}}), "no executor class"),
    "no version": (_badly_signed({"burn_rate": "0.1"}), "Version 0 is not within"),
    "a version too high": (_badly_signed({"version": 2**60}), "is not within"),
    "knobs that are a list": (_badly_signed([1]), "Knob the configuration is wrong"),
}


@pytest.mark.parametrize("name", _BAD)
async def test_a_bad_document_is_refused_whole_and_the_last_good_one_stays(store: Store, name: str) -> None:
    document, why = _BAD[name]
    live = await _live(store)
    await live.take(_signed(2, burn_rate="0.25"))
    with pytest.raises(ConfigurationRefused, match=why) as refused:
        await live.take(document)
    assert len(str(refused.value)) < 500
    assert live.now == Configuration(version=2, burn_rate="0.25")
    assert (await _live(store)).now.version == 2


def test_what_is_signed_does_not_hang_on_defaults_of_later_versions() -> None:
    signed = read_signed(_signed(2, burn_rate="0.1"), {_OWNER.hotkey})
    assert signed.text == '{"burn_rate":"0.1","version":2}'


async def test_a_running_validator_follows_its_file(stage: Stage) -> None:
    file = stage.folder / "knobs.json"
    validator = await stage.start(
        configuration_source=str(file), configuration_signers=(_OWNER.hotkey,), configuration_poll_s=0.05
    )
    assert validator.parts.knobs() == Configuration()
    for version in (1, 2):
        file.write_bytes(_signed(version, burn_rate=f"0.{version}"))
        await _until_in_force(validator, Configuration(version=version, burn_rate=f"0.{version}"))
    file.write_bytes(_signed(3)[:-9])
    metrics = validator.parts.metrics.registry
    await eventually(
        lambda: _true(bool(metrics.get_sample_value("horde_validator_configuration_refusals_total")))
    )
    assert validator.parts.knobs().version == 2
    file.unlink()
    restarted = await stage.restart()
    assert restarted.parts.knobs() == Configuration(version=2, burn_rate="0.2")


async def _until_in_force(validator: Validator, wanted: Configuration) -> None:
    await eventually(lambda: _true(validator.parts.knobs() == wanted))


async def _true(fact: bool) -> bool:
    return fact


async def test_the_stake_of_an_excuses_signer_follows_the_knob(stage: Stage) -> None:
    parts = (await stage.start()).parts
    parts.directory.replace([], {_STRANGER.hotkey: 60_000 * 10**9})
    offer = _started("offered", stage.signer, now())
    receipt = _started("busy", _STRANGER, now() - timedelta(seconds=2))
    shown = [_signed_by_both(each) for each in (receipt, accepted(receipt), progress(receipt))]
    offered = {offer.miner_hotkey: {offer.executor_class: 1}}
    excusing = [
        Excusing(parts, offered, Configuration(**knobs).excuse_minimum_stake_tao)
        for knobs in ({}, {"excuse_minimum_stake_tao": 60_001})
    ]
    assert [await each.excuse(offer, shown) for each in excusing] == [receipt.job_uuid, ""]


def _signed_by_both(payload: Statement) -> SignedReceipt:
    text = signed_text(payload)
    return SignedReceipt(
        payload=json.loads(text),
        validator_signature=to_hex(_STRANGER.sign(text)),
        miner_signature=to_hex(KeypairSigner.from_uri("//miner").sign(text)),
    )


def _started(name: str, signer: KeypairSigner, at: datetime) -> JobStarted:
    return JobStarted(
        job_uuid=str(uuid5(NAMESPACE_URL, name)),
        miner_hotkey=KeypairSigner.from_uri("//miner").hotkey,
        validator_hotkey=signer.hotkey,
        timestamp=at,
        executor_class="always_on.test",
        is_organic=True,
        ttl=60,
    )


async def test_a_server_is_polled_and_may_lie_or_be_away(store: Store) -> None:
    answers: list[web.Response] = []

    async def handler(_request: web.Request) -> web.StreamResponse:
        return answers[-1]

    async with serving(handler) as server, aiohttp.ClientSession() as http:
        address, names = f"{server.url}/knobs.json", frozenset({_OWNER.hotkey})
        live = LiveConfiguration(Source(address, names, 0.05), store, http, Metrics())
        answers.append(web.Response(body=_signed(4)))
        await live.look()
        assert (live.now.version, live.trouble) == (4, "")
        for body, status, why in (
            (b"not found", 404, "answers 404"),
            (b"x" * 10_000_000, 200, "more than 65536 bytes"),
            (b"<html>", 200, "The document"),
        ):
            answers.append(web.Response(body=body, status=status))
            await live.look()
            assert why in live.trouble
            assert live.now.version == 4
        answers.append(web.Response(body=_signed(5)))
        await live.look()
        assert (live.now.version, live.trouble, _refusals(live)) == (5, "", 3)
    async with aiohttp.ClientSession() as http:
        live.http = http
        await live.look()
    assert "does not answer" in live.trouble
    assert live.now.version == 5


async def test_a_source_that_is_no_file_is_named(store: Store, tmp_path: Path) -> None:
    live = await _live(store, str(tmp_path))
    await live.look()
    assert "is no file; check the setting configuration_source" in live.trouble


async def test_the_loop_goes_on_after_a_refusal(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "knobs.json"
    file.write_bytes(b"{}")
    live = await _live(store, str(file))
    loop = asyncio.create_task(live.serve())
    await eventually(lambda: _true(bool(live.trouble)))
    file.write_bytes(_signed(1))
    await eventually(lambda: _true(live.now.version == 1))
    loop.cancel()
