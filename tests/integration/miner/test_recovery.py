"""A miner that lost its database gets its receipts back from validators' own pages, whatever those send."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncConnection
from typer.testing import CliRunner, Result

from horde_agents.agents.miner import recovery
from horde_agents.agents.miner.receipt_book import ReceiptBook
from horde_agents.agents.miner.recovery import NotRecovered, Publisher, Recovered, pages_since, recover
from horde_agents.agents.validator.receipt_pages import receipt_page_routes
from horde_agents.cli.app import app
from horde_agents.protocol.signing import KeypairSigner, from_hex, to_hex, verify
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.pages import page_line, page_of
from horde_agents.receipts.payloads import Payload, payload_object, signed_text
from horde_agents.runtime import clock
from horde_agents.runtime.health import listening
from horde_agents.store import receipts
from horde_agents.store.engine import Store, open_store
from horde_agents.testing.wallets import hotkey_file
from tests.fixtures.receipt_lines import accepted, finished, started

VALIDATOR = KeypairSigner.from_uri("//RecoveryValidator")
OTHER_MINER = KeypairSigner.from_uri("//RecoveryOtherMiner")
_BACK = timedelta(hours=1)


@asynccontextmanager
async def validator(folder: Path) -> AsyncIterator[tuple[Store, Publisher]]:
    """A validator's store, and where its pages are."""
    async with open_store(f"sqlite:///{folder}/validator.sqlite3") as store:
        pages = web.Application()
        pages.add_routes(receipt_page_routes(store))
        async with listening(pages, "127.0.0.1", 0) as port:
            yield store, Publisher(VALIDATOR.hotkey, f"http://127.0.0.1:{port}")


async def issue(store: Store, *payloads: Payload, ago: timedelta = timedelta()) -> None:
    """Sign, store and publish as a validator does."""
    at = clock.now() - ago
    signed = [Receipt(payload, to_hex(VALIDATOR.sign(signed_text(payload)))) for payload in payloads]

    async def unit(connection: AsyncConnection) -> None:
        for receipt in signed:
            await receipts.file(connection, receipt, at, page_of(at.timestamp()))

    await store.writer.run(unit)


async def read(store: Store, signer: KeypairSigner, publisher: Publisher) -> Recovered:
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        pages = pages_since(clock.now() - _BACK, clock.now())
        return await recover(store, signer, http, publisher, pages)


async def test_what_a_validator_published_is_published_by_the_miner_again(tmp_path: Path) -> None:
    _, signer = hotkey_file(tmp_path, "miner")
    job = started(signer, VALIDATOR)
    async with (
        validator(tmp_path) as (theirs, publisher),
        open_store(f"sqlite:///{tmp_path}/miner.sqlite3") as ours,
    ):
        await issue(theirs, job, accepted(job), ago=timedelta(minutes=20))
        await issue(theirs, finished(job), started(OTHER_MINER, VALIDATOR))
        first = await read(ours, signer, publisher)
        assert (first.stored, first.known, first.refused) == (3, 0, {})
        again = await read(ours, signer, publisher)
        assert (again.stored, again.known) == (0, 3)
        page = await ReceiptBook(ours, signer, signer.hotkey).page(page_of(clock.now().timestamp()))
    lines = [json.loads(line) for line in page.splitlines()]
    assert {line["payload"]["receipt_type"] for line in lines} == {
        "JobStartedReceipt",
        "JobAcceptedReceipt",
        "JobFinishedReceipt",
    }
    text = signed_text(job)
    (begun,) = (line for line in lines if line["payload"]["receipt_type"] == "JobStartedReceipt")
    assert verify(VALIDATOR.hotkey, text, from_hex(begun["validator_signature"]))
    assert verify(signer.hotkey, text, from_hex(begun["miner_signature"]))


@asynccontextmanager
async def pages_of(answer: Callable[[web.Request], web.Response]) -> AsyncIterator[Publisher]:
    async def page(request: web.Request) -> web.Response:
        return answer(request)

    application = web.Application()
    application.add_routes([web.get("/receipts/{page}.jsonl", page)])
    async with listening(application, "127.0.0.1", 0) as port:
        yield Publisher(VALIDATOR.hotkey, f"http://127.0.0.1:{port}")


async def test_lines_that_are_not_the_validators_are_counted_and_not_countersigned(tmp_path: Path) -> None:
    _, signer = hotkey_file(tmp_path, "miner")
    job = started(signer, VALIDATOR)
    forged = page_line(payload_object(job), to_hex(OTHER_MINER.sign(signed_text(job))), "")
    stranger = started(signer, OTHER_MINER)
    foreign = page_line(payload_object(stranger), to_hex(OTHER_MINER.sign(signed_text(stranger))), "")
    content = f"{forged}{foreign}garbage\n".encode()
    current = str(page_of(clock.now().timestamp()))

    def answer(request: web.Request) -> web.Response:
        if request.match_info["page"] != current or "Range" in request.headers:
            raise web.HTTPNotFound
        return web.Response(body=content)

    async with pages_of(answer) as publisher, open_store(f"sqlite:///{tmp_path}/miner.sqlite3") as ours:
        found = await read(ours, signer, publisher)
    assert (found.stored, found.known) == (0, 0)
    assert found.refused == {"forged": 1, "about another peer": 1, "not JSON": 1}


async def test_a_validator_that_is_asked_too_often_is_asked_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "_PATIENCE_S", 0.01)
    _, signer = hotkey_file(tmp_path, "miner")
    asked: list[str] = []

    def answer(request: web.Request) -> web.Response:
        asked.append(request.match_info["page"])
        if asked.count(asked[-1]) == 1:
            raise web.HTTPTooManyRequests
        raise web.HTTPNotFound

    async with pages_of(answer) as publisher, open_store(f"sqlite:///{tmp_path}/miner.sqlite3") as ours:
        await read(ours, signer, publisher)
    assert all(asked.count(page) == 2 for page in asked)


async def test_pages_that_cannot_be_read_end_the_reading(tmp_path: Path) -> None:
    _, signer = hotkey_file(tmp_path, "miner")

    def answer(_request: web.Request) -> web.Response:
        return web.Response(status=500)

    async with pages_of(answer) as publisher, open_store(f"sqlite:///{tmp_path}/miner.sqlite3") as ours:
        with pytest.raises(NotRecovered, match="status 500"):
            await read(ours, signer, publisher)


def typed(config: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["miner", "recover", "--config", str(config), *words])


async def test_an_operator_types_it_and_is_told_of_each_validator(tmp_path: Path) -> None:
    key, signer = hotkey_file(tmp_path, "miner")
    config = tmp_path / "miner.toml"
    config.write_text(
        f'hotkey_file = "{key}"\ndatabase_url = "sqlite:///{tmp_path}/miner.sqlite3"\n'
        f'data_dir = "{tmp_path}/data"\n'
    )
    async with validator(tmp_path) as (theirs, publisher):
        await issue(theirs, started(signer, VALIDATOR))
        source = f"{publisher.hotkey}={publisher.url}"
        away = f"{OTHER_MINER.hotkey}=http://127.0.0.1:1"
        result = await asyncio.to_thread(typed, config, "--since", "1h", away, source)
    assert result.exit_code == 1
    assert f"{VALIDATOR.hotkey}: 1 receipts recovered, 0 were known" in result.output
    assert f"{OTHER_MINER.hotkey}: http://127.0.0.1:1/receipts/" in result.output


@pytest.mark.parametrize("source", ["5F", "nobody=http://127.0.0.1:1", f"{VALIDATOR.hotkey}=127.0.0.1:1"])
def test_a_source_of_another_form_is_refused_in_a_sentence(tmp_path: Path, source: str) -> None:
    result = typed(tmp_path / "none.toml", source)
    assert result.exit_code == 2
    assert "HOTKEY=URL" in result.output
