"""The payloads of a batch go out together, in order, and are not held for long."""

import asyncio
from collections.abc import Awaitable, Callable

from horde_agents.agents.miner.volley import Volley


class _Out:
    """What was written, and how many payloads had come by then."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.volley = Volley(self._spawn)
        self.written: list[tuple[int, int]] = []
        self.added = 0

    def add(self) -> None:
        self.added += 1
        self.volley.add(self._write(self.added))

    async def over(self) -> None:
        while self.tasks:
            await asyncio.wait(set(self.tasks))

    def _write(self, number: int) -> Callable[[], Awaitable[None]]:
        async def write() -> None:
            self.written.append((number, self.added))

        return write

    def _spawn(self, _name: str, work: Awaitable[None]) -> None:
        async def run() -> None:
            await work

        task = asyncio.create_task(run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


async def test_payloads_that_trickle_in_go_out_together_and_in_order() -> None:
    out = _Out()
    for _ in range(5):
        out.add()
        await asyncio.sleep(0)
    assert out.written == []
    await out.over()
    assert out.written == [(number, 5) for number in range(1, 6)]


async def test_a_stream_without_end_holds_nothing_up() -> None:
    out = _Out()
    while not out.written:
        out.add()
        await asyncio.sleep(0.005)
    first_go = len(out.written)
    assert first_go > 1
    await out.over()
    assert [number for number, _ in out.written] == list(range(1, out.added + 1))


async def test_a_second_batch_goes_out_as_the_first_did() -> None:
    out = _Out()
    out.add()
    await out.over()
    out.add()
    await out.over()
    assert out.written == [(1, 1), (2, 2)]
