"""Receipt pages of hostile miners: nothing false is stored, nothing honest is lost, nobody else waits."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import select

from horde_agents.agents.validator.app import Validator, assembled
from horde_agents.agents.validator.receipt_sync import ReceiptSync
from horde_agents.agents.validator.settings import MinerEntry, ValidatorSettings
from horde_agents.protocol.signing import KeypairSigner
from horde_agents.receipts.pages import PAGE_S, slice_for
from horde_agents.runtime.clock import now
from horde_agents.runtime.ranged import ranged
from horde_agents.store.tables import page_cursors, receipts
from horde_agents.testing.wallets import hotkey_file
from tests.fixtures.receipt_lines import accepted, changed, finished, line, started
from tests.fixtures.waiting import eventually

RICH = KeypairSigner.from_uri("//RichValidator")
STRANGER = KeypairSigner.from_uri("//StrangerValidator")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def current_page() -> int:
    return int(time.time()) // PAGE_S


@dataclass
class Page:
    """A peer whose newest page has this content, served by ``handler`` or honestly."""

    signer: KeypairSigner
    content: bytes = b""
    handler: Handler | None = None
    page: int = field(default_factory=current_page)
    port: int = 0
    asked: list[str | None] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["page"] != str(self.page):
            raise web.HTTPNotFound
        self.asked.append(request.headers.get("Range"))
        if self.handler is not None:
            return await self.handler(request)
        part = slice_for(request.headers.get("Range"), len(self.content))
        return ranged(self.content, part, "application/jsonl")


@asynccontextmanager
async def served(page: Page) -> AsyncIterator[Page]:
    app = web.Application()
    app.router.add_get("/receipts/{page}.jsonl", page.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    page.port = int(runner.addresses[0][1])
    try:
        yield page
    finally:
        await runner.cleanup()


@dataclass
class Scene:
    folder: Path

    @asynccontextmanager
    async def reading(self, *pages: Page, **changes: Any) -> AsyncIterator[Validator]:
        """A validator that follows these pages."""
        path, _ = hotkey_file(self.folder, "validator")
        miners = tuple(MinerEntry(hotkey=p.signer.hotkey, host="127.0.0.1", port=p.port) for p in pages)
        settings = ValidatorSettings(
            hotkey_file=path,
            database_url=f"sqlite:///{self.folder}/validator.sqlite3",
            debug_miners=miners,
            **{"receipt_poll_s": 0.1, "receipt_fetch_s": 1.0, "receipt_catch_up_s": 0.0, **changes},
        )
        async with assembled(settings) as validator:
            validator.parts.directory.stake_rao = {RICH.hotkey: 10**15}
            await validator.receipts.load()
            validator.dispatch.supervisor.keep("receipts", validator.receipts.serve)
            yield validator


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def miner(name: str = "miner") -> KeypairSigner:
    return KeypairSigner.from_uri(f"//{name}")


async def stored(validator: Validator) -> list[str]:
    async with validator.parts.store.reading() as connection:
        rows = await connection.execute(select(receipts).order_by(receipts.c.id))
        return [f"{row.job_uuid} {row.receipt_type}" for row in rows]


async def until_stored(validator: Validator, count: int) -> list[str]:
    async def enough() -> list[str] | None:
        found = await stored(validator)
        return found if len(found) >= count else None

    return await eventually(enough, 20)


def refusals(validator: Validator) -> dict[str, float]:
    samples = next(iter(validator.parts.metrics.synced_receipts.collect())).samples
    return {s.labels["outcome"]: s.value for s in samples if s.name.endswith("_total")}


def fetches(validator: Validator) -> dict[str, float]:
    samples = next(iter(validator.parts.metrics.page_fetches.collect())).samples
    return {s.labels["outcome"]: s.value for s in samples if s.name.endswith("_total")}


async def until_counted(
    counted: Callable[[Validator], dict[str, float]], validator: Validator, why: str
) -> None:
    async def is_there() -> bool:
        return counted(validator).get(why, 0) > 0

    await eventually(is_there, 20)


async def refused_as(scene: Scene, text: bytes, why: str) -> None:
    """A page of one bad line and an honest one: the bad one is counted, the honest one stored."""
    honest = line(started(miner(), RICH), miner(), RICH)
    async with served(Page(miner(), text + honest)) as page, scene.reading(page) as validator:
        assert len(await until_stored(validator, 1)) == 1
        assert refusals(validator) == {"believed": 1.0, why: 1.0}


async def test_a_forged_receipt_is_left_out(scene: Scene) -> None:
    text = line(started(miner(), RICH), miner(), STRANGER)
    await refused_as(scene, text, "forged")


async def test_a_receipt_that_its_miner_did_not_sign_is_left_out(scene: Scene) -> None:
    text = line(started(miner(), RICH), STRANGER, RICH)
    await refused_as(scene, text, "forged")


@pytest.mark.parametrize("side", ["validator_signature", "miner_signature"])
@pytest.mark.parametrize("value", [None, "", 7, "0x"])
async def test_a_half_signed_receipt_is_left_out(scene: Scene, side: str, value: object) -> None:
    await refused_as(
        scene, changed(line(started(miner(), RICH), miner(), RICH), **{side: value}), "half-signed"
    )


@pytest.mark.parametrize("days", [-3, 1, 3650])
async def test_an_absurdly_dated_receipt_is_left_out(scene: Scene, days: int) -> None:
    payload = started(miner(), RICH, timestamp=now() + timedelta(days=days))
    await refused_as(scene, line(payload, miner(), RICH), "absurdly dated")


async def test_a_receipt_about_another_miner_is_left_out(scene: Scene) -> None:
    other = miner("other")
    await refused_as(scene, line(started(other, RICH), other, RICH), "about another peer")


async def test_a_receipt_of_a_validator_without_a_permit_is_left_out(scene: Scene) -> None:
    await refused_as(scene, line(started(miner(), STRANGER), miner(), STRANGER), "of an unknown validator")


@pytest.mark.parametrize(
    "text", [b"{", b"\x00\xff\xfe", b"[" * 50_000, b"9" * 5000, b'{"payload": 1e9999}', b"null", b"[]", b'""']
)
async def test_a_line_of_garbage_is_left_out(scene: Scene, text: bytes) -> None:
    honest = line(started(miner(), RICH), miner(), RICH)
    async with served(Page(miner(), text + b"\n" + honest)) as page, scene.reading(page) as validator:
        await until_stored(validator, 1)
        assert sum(refusals(validator).values()) == 2


async def test_replayed_receipts_are_stored_once(scene: Scene) -> None:
    text = line(started(miner(), RICH), miner(), RICH)
    async with served(Page(miner(), text * 5)) as page, scene.reading(page) as validator:
        await until_stored(validator, 1)
        await until_counted(refusals, validator, "believed")
        assert len(await stored(validator)) == 1


async def test_the_first_of_two_contradicting_receipts_wins(scene: Scene) -> None:
    first = started(miner(), RICH)
    second = first.model_copy(update={"ttl": 7})
    text = line(first, miner(), RICH) + line(second, miner(), RICH)
    async with served(Page(miner(), text)) as page, scene.reading(page) as validator:
        await until_stored(validator, 1)
        async with validator.parts.store.reading() as connection:
            (row,) = (await connection.execute(select(receipts))).all()
        assert json.loads(row.payload_json)["ttl"] == 60


async def test_reordered_receipts_do_not_leave_a_job_running(scene: Scene) -> None:
    job = started(miner(), RICH)
    text = b"".join(line(each, miner(), RICH) for each in (finished(job), accepted(job), job))
    async with served(Page(miner(), text)) as page, scene.reading(page) as validator:
        await until_stored(validator, 3)
        await until_counted(refusals, validator, "believed")
        assert validator.parts.others_occupancy.counts(job.executor_class, now()).get(miner().hotkey, 0) == 0


async def test_anothers_finish_does_not_end_a_job(scene: Scene) -> None:
    """Receipts are matched by validator and uuid, not by the uuid alone."""
    rival = KeypairSigner.from_uri("//Rival")
    job = started(miner(), RICH)
    false_end = finished(job).model_copy(update={"validator_hotkey": rival.hotkey})
    text = line(job, miner(), RICH) + line(false_end, miner(), rival)
    async with served(Page(miner(), text)) as page, scene.reading(page) as validator:
        validator.parts.directory.stake_rao = {RICH.hotkey: 10**15, rival.hotkey: 10**15}
        await until_stored(validator, 2)

        async def is_busy() -> bool:
            counts = validator.parts.others_occupancy.counts(job.executor_class, now())
            return counts.get(miner().hotkey, 0) == 1

        assert await eventually(is_busy, 20)


async def test_a_page_of_gigabytes_costs_bounded_bytes_and_ends(scene: Scene) -> None:
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        reply = web.StreamResponse()
        cursor = int((request.headers.get("Range") or "bytes=0-")[6:-1])
        if cursor:
            reply.set_status(206)
            reply.headers["Content-Range"] = f"bytes {cursor}-{10**10 - 1}/{10**10}"
        await reply.prepare(request)
        while True:
            await reply.write(b"x" * 65_535 + b"\n")
            sent += 65_536

    async with served(Page(miner(), handler=endless)) as page:
        honest = Page(miner("honest"), line(started(miner("honest"), RICH), miner("honest"), RICH))
        sizes = {"receipt_fetch_bytes": 262_144, "receipt_page_bytes": 1_048_576}
        async with served(honest), scene.reading(page, honest, **sizes) as validator:
            await until_stored(validator, 1)

            async def is_given_up() -> bool:
                async with validator.parts.store.reading() as connection:
                    rows = (await connection.execute(select(page_cursors))).all()
                return any(row.read_bytes >= 900_000 for row in rows if row.peer_hotkey == miner().hotkey)

            assert await eventually(is_given_up, 60)
            asked = len(page.asked)
            assert asked <= 8
            assert sent < 64 * 1024 * 1024


async def test_a_line_without_an_end_is_passed_over_and_the_page_read_on(scene: Scene) -> None:
    honest = line(started(miner(), RICH), miner(), RICH)
    content = b"x" * 700_000 + b"\n" + honest
    async with (
        served(Page(miner(), content)) as page,
        scene.reading(page, receipt_fetch_bytes=262_144) as validator,
    ):
        assert len(await until_stored(validator, 1)) == 1


async def test_half_a_line_is_not_passed_until_it_is_whole(scene: Scene) -> None:
    text = line(started(miner(), RICH), miner(), RICH)
    async with served(Page(miner(), text[:100])) as page, scene.reading(page) as validator:

        async def asked_twice() -> bool:
            return len(page.asked) >= 2

        await eventually(asked_twice, 20)
        assert await stored(validator) == []
        page.content = text
        assert len(await until_stored(validator, 1)) == 1


async def test_a_slow_drip_delays_nobody_else(scene: Scene) -> None:
    async def drips(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        while True:
            await reply.write(b"x")
            await asyncio.sleep(0.05)

    slow = [Page(miner(f"slow{n}"), handler=drips) for n in range(4)]
    honest = Page(miner("honest"))
    async with served(slow[0]), served(slow[1]), served(slow[2]), served(slow[3]), served(honest):
        async with scene.reading(*slow, honest, receipt_concurrency=4) as validator:  # as many as turns
            for count in range(1, 6):
                honest.content += line(started(miner("honest"), RICH), miner("honest"), RICH)
                await until_stored(validator, count)
        assert len(honest.asked) > max(len(page.asked) for page in slow)


async def test_a_redirect_is_not_followed(scene: Scene) -> None:
    honest = Page(miner("honest"), line(started(miner("honest"), RICH), miner("honest"), RICH))

    async def sends_on(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound(f"http://127.0.0.1:{honest.port}/receipts/{honest.page}.jsonl")

    async with (
        served(Page(miner(), handler=sends_on)) as page,
        served(honest),
        scene.reading(page) as validator,
    ):
        await until_counted(fetches, validator, "status 302")
        assert honest.asked == []


@pytest.mark.parametrize(
    "content_range",
    [
        "",
        "bytes 0-9/10",
        "bytes {c}-{l}/{c}",
        "bytes {c}-{l}/*",
        "items {c}-{l}/{t}",
        "bytes {c}-{l}/999999999",
    ],
)
async def test_a_wrong_content_range_moves_no_cursor(scene: Scene, content_range: str) -> None:
    text = line(started(miner(), RICH), miner(), RICH)
    more = line(started(miner(), RICH), miner(), RICH)

    async def lies(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Range") is None:
            return web.Response(body=text)
        total = len(text) + len(more)
        told = content_range.format(c=len(text), l=total - 1, t=total)
        return web.Response(status=206, body=more, headers={"Content-Range": told} if told else {})

    async with served(Page(miner(), handler=lies)) as page, scene.reading(page) as validator:
        await until_counted(fetches, validator, "wrong Content-Range")
        assert len(await stored(validator)) == 1


async def test_a_200_to_a_range_is_no_second_reading(scene: Scene) -> None:
    text = line(started(miner(), RICH), miner(), RICH)

    async def whole(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=text)

    async with served(Page(miner(), handler=whole)) as page, scene.reading(page) as validator:
        await until_counted(fetches, validator, "200 to a Range")
        assert refusals(validator) == {"believed": 1.0}


async def test_a_page_that_shrinks_is_not_read_again(scene: Scene) -> None:
    texts = [line(started(miner(), RICH), miner(), RICH) for _ in range(3)]
    async with served(Page(miner(), b"".join(texts[:2]))) as page, scene.reading(page) as validator:
        await until_stored(validator, 2)
        page.content, before = texts[2], len(page.asked)

        async def asked_again() -> bool:
            return len(page.asked) >= before + 3

        await eventually(asked_again, 20)
        assert len(await stored(validator)) == 2


async def test_a_packed_answer_that_was_not_asked_for_is_not_unpacked(scene: Scene) -> None:
    async def bomb(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 1000, headers={"Content-Encoding": "gzip"})

    async with served(Page(miner(), handler=bomb)) as page, scene.reading(page) as validator:
        await until_counted(fetches, validator, "packed answer that was not asked for")


async def test_a_restart_reads_on_where_the_cursor_stood(scene: Scene) -> None:
    text = line(started(miner(), RICH), miner(), RICH)
    async with served(Page(miner(), text)) as page:
        async with scene.reading(page) as validator:
            await until_stored(validator, 1)
        page.asked.clear()
        page.content += line(started(miner(), RICH), miner(), RICH)
        async with scene.reading(page) as validator:
            await until_stored(validator, 2)
        assert page.asked[0] == f"bytes={len(text)}-"


async def test_what_was_published_while_we_were_away_is_caught_up(scene: Scene) -> None:
    old = Page(miner(), line(started(miner(), RICH), miner(), RICH), page=current_page() - 20)
    async with served(old), scene.reading(old, receipt_catch_up_s=18_000.0) as validator:
        assert len(await until_stored(validator, 1)) == 1


async def test_a_lost_checking_process_loses_nothing(scene: Scene) -> None:
    async with served(Page(miner())) as page, scene.reading(page) as validator:
        page.content = line(started(miner(), RICH), miner(), RICH)
        await until_stored(validator, 1)
        sync: ReceiptSync = validator.receipts
        assert sync.checker._process is not None
        sync.checker._process.kill()
        page.content += line(started(miner(), RICH), miner(), RICH)
        assert len(await until_stored(validator, 2)) == 2
