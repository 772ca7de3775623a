"""Validators read each other's pages and those of miners: busy executors, ended jobs, signatures."""

import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from sqlalchemy import select

from horde_agents.agents.validator.app import Validator, assembled
from horde_agents.agents.validator.receipt_pages import receipt_page_routes
from horde_agents.agents.validator.settings import MinerEntry, ReceiptValidatorEntry, ValidatorSettings
from horde_agents.protocol.extensions import Extension
from horde_agents.protocol.signing import KeypairSigner, from_hex, to_hex, verify
from horde_agents.receipts.ledger import Receipt
from horde_agents.receipts.pages import page_of
from horde_agents.receipts.payloads import Payload, read_payload, signed_text
from horde_agents.runtime.clock import now
from horde_agents.runtime.health import listening
from horde_agents.store import receipts
from horde_agents.store.engine import Store, open_store
from horde_agents.store.tables import progress_receipts
from horde_agents.store.tables import receipts as receipt_rows
from horde_agents.testing.wallets import hotkey_file
from tests.fixtures.receipt_lines import CLASS, accepted, finished, line, progress, started
from tests.fixtures.waiting import eventually

MINER = KeypairSigner.from_uri("//ExchangeMiner")
ISSUER = KeypairSigner.from_uri("//ExchangeIssuer")


async def issue(store: Store, payload: Payload, page: int | None = None) -> None:
    """Store a receipt as a validator does that signs it."""
    at = now()
    number = page_of(at.timestamp()) if page is None else page
    receipt = Receipt(payload, to_hex(ISSUER.sign(signed_text(payload))))
    await store.writer.run(lambda c: receipts.file(c, receipt, at, number))


@asynccontextmanager
async def published(folder: Path) -> AsyncIterator[tuple[Store, int]]:
    """The issuer's store, and the port on which its pages are."""
    async with open_store(f"sqlite:///{folder}/issuer.sqlite3") as store:
        app = web.Application()
        app.add_routes(receipt_page_routes(store))
        async with listening(app, "127.0.0.1", 0) as port:
            yield store, port


@asynccontextmanager
async def miner_pages(content: Callable[[str], bytes]) -> AsyncIterator[int]:
    """A miner's newest pages: ``content`` by kind."""

    async def page(request: web.Request) -> web.Response:
        if request.match_info["page"] != str(int(time.time()) // 300) or "Range" in request.headers:
            raise web.HTTPNotFound
        return web.Response(body=content(request.match_info.get("kind", "")))

    app = web.Application()
    paths = ("/receipts/{page}.jsonl", "/receipts/{kind}/{page}.jsonl")
    app.add_routes([web.get(path, page) for path in paths])
    async with listening(app, "127.0.0.1", 0) as port:
        yield port


@asynccontextmanager
async def reader(folder: Path, miner_port: int = 0, issuer_port: int = 0) -> AsyncIterator[Validator]:
    path, _ = hotkey_file(folder, "validator")
    miners = (MinerEntry(hotkey=MINER.hotkey, host="127.0.0.1", port=miner_port),) if miner_port else ()
    entry = ReceiptValidatorEntry(hotkey=ISSUER.hotkey, host="127.0.0.1", port=issuer_port or 1)
    settings = ValidatorSettings(
        hotkey_file=path,
        database_url=f"sqlite:///{folder}/validator.sqlite3",
        debug_miners=miners,
        receipt_validators=(entry,) if issuer_port else (),
        receipt_poll_s=0.1,
        receipt_catch_up_s=0.0,
    )
    async with assembled(settings) as validator:
        validator.dispatch.supervisor.keep("receipts", validator.receipts.serve)
        yield validator


async def rows(validator: Validator, table: Any) -> list[Any]:
    async with validator.parts.store.reading() as connection:
        return list(await connection.execute(select(table).order_by(table.c.id)))


async def test_a_validators_page_has_its_own_receipts_and_only_grows(tmp_path: Path) -> None:
    async with published(tmp_path) as (store, port), aiohttp.ClientSession() as http:
        job, page = started(MINER, ISSUER), 1_000
        url = f"http://127.0.0.1:{port}/receipts/{page}.jsonl"
        await issue(store, job, page)
        async with http.get(url) as reply:
            first = await reply.read()
        (text,) = first.splitlines()
        value = json.loads(text)
        signature = from_hex(value["validator_signature"])
        assert verify(ISSUER.hotkey, signed_text(read_payload(value["payload"])), signature)
        assert value["miner_signature"] == ""
        both = Receipt(job, value["validator_signature"], to_hex(MINER.sign(signed_text(job))))
        await store.writer.run(lambda c: receipts.import_all(c, [both], now()))
        await issue(store, accepted(job), page)
        async with http.get(url, headers={"Range": f"bytes={len(first)}-"}) as reply:
            assert reply.status == 206
            assert json.loads(await reply.read())["payload"]["receipt_type"] == "JobAcceptedReceipt"
        async with http.get(url) as reply:
            assert (await reply.read()).startswith(first)
        for name in ("999", "-1", "x", "9" * 12):
            async with http.get(f"http://127.0.0.1:{port}/receipts/{name}.jsonl") as reply:
                assert reply.status == 404


async def test_a_job_runs_until_its_validators_own_page_says_that_it_is_over(
    tmp_path: Path,
) -> None:
    async with published(tmp_path) as (store, port), reader(tmp_path, issuer_port=port) as validator:
        job, others = started(MINER, ISSUER), validator.parts.others_jobs
        assert not others.is_running(ISSUER.hotkey, job.job_uuid, now())
        since = now()
        await issue(store, job)
        await issue(store, accepted(job))

        async def runs() -> bool:
            return others.is_running(ISSUER.hotkey, job.job_uuid, since)

        async def is_busy() -> bool:
            return others.occupancy.counts(CLASS, now()).get(MINER.hotkey, 0) == 1

        assert await eventually(runs, 20)
        assert await eventually(is_busy, 20)
        await issue(store, finished(job))

        async def is_over() -> bool:
            return others.is_over(ISSUER.hotkey, job.job_uuid)

        assert await eventually(is_over, 20)
        assert not await runs()
        assert not await is_busy()


async def test_an_own_receipt_gets_the_miners_signature_from_its_page(tmp_path: Path) -> None:
    _, own = hotkey_file(tmp_path, "validator")
    job = started(MINER, own)
    text = line(job, MINER, own)
    async with miner_pages(lambda kind: b"" if kind else text) as port, reader(tmp_path, port) as validator:
        mine = Receipt(job, json.loads(text)["validator_signature"])
        await validator.parts.store.writer.run(lambda c: receipts.file(c, mine, now()))

        async def is_countersigned() -> bool:
            return any(row.miner_signature for row in await rows(validator, receipt_rows))

        # whichever came first, there is one row, and its miner's signature is there
        assert await eventually(is_countersigned, 20)
        (row,) = await rows(validator, receipt_rows)
        assert verify(MINER.hotkey, signed_text(job), from_hex(row.miner_signature))
        assert validator.parts.others_occupancy.counts(CLASS, now()).get(MINER.hotkey, 0) == 0


async def test_a_validator_that_lost_its_database_gets_its_receipts_back_from_a_miner(tmp_path: Path) -> None:
    _, own = hotkey_file(tmp_path, "validator")
    job = started(MINER, own)
    text = line(job, MINER, own) + line(finished(job), MINER, own)
    async with miner_pages(lambda kind: b"" if kind else text) as port, reader(tmp_path, port) as validator:

        async def are_back() -> bool:
            return len(await rows(validator, receipt_rows)) == 2

        assert await eventually(are_back, 20)
        for row in await rows(validator, receipt_rows):
            assert row.validator_hotkey == own.hotkey
            assert row.validator_signature
            assert row.miner_signature


async def test_progress_pages_are_read_of_miners_that_announced_them_alone(tmp_path: Path) -> None:
    job = started(MINER, ISSUER)
    asked: list[str] = []

    def content(kind: str) -> bytes:
        asked.append(kind)
        return line(progress(job) if kind else job, MINER, ISSUER)

    async with miner_pages(content) as port, reader(tmp_path, port) as validator:

        async def has_read() -> bool:
            return bool(await rows(validator, receipt_rows))

        await eventually(has_read, 20)
        assert set(asked) == {""}
        validator.parts.announced[MINER.hotkey] = frozenset({Extension.PROGRESS})

        async def has_progress() -> bool:
            return bool(await rows(validator, progress_receipts))

        assert await eventually(has_progress, 20)


async def test_what_others_run_is_known_again_after_a_restart(tmp_path: Path) -> None:
    job = started(MINER, ISSUER)
    text = line(job, MINER, ISSUER) + line(accepted(job), MINER, ISSUER)
    async with miner_pages(lambda kind: b"" if kind else text) as port, reader(tmp_path, port) as validator:

        async def has_read() -> bool:
            return len(await rows(validator, receipt_rows)) == 2

        await eventually(has_read, 20)

    async with reader(tmp_path) as validator:
        assert validator.parts.others_occupancy.counts(CLASS, now()).get(MINER.hotkey, 0) == 0
        await validator.receipts.load()
        assert validator.parts.others_occupancy.counts(CLASS, now())[MINER.hotkey] == 1
