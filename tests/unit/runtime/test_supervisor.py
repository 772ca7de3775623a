"""Loops are kept running, stopped in reverse, and never take each other down."""

import asyncio
import inspect
import os
import signal

import pytest

from horde_agents.runtime.supervisor import Loop, Supervisor, supervised, until_told_to_stop

_PATIENCE_S = 10.0


def _recording(name: str, order: list[str], started: asyncio.Event) -> Loop:
    async def loop() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            order.append(name)

    return loop


async def _start(supervisor: Supervisor, name: str, order: list[str]) -> None:
    started = asyncio.Event()
    supervisor.keep(name, _recording(name, order, started))
    await started.wait()


async def test_loops_stop_in_reverse_order_of_their_start() -> None:
    order: list[str] = []
    async with supervised() as supervisor:
        for name in ("first", "second", "third"):
            await _start(supervisor, name, order)
    assert order == ["third", "second", "first"]


@pytest.mark.parametrize("crashes", [True, False])
async def test_a_loop_that_ends_is_started_again(*, crashes: bool) -> None:
    runs = 0
    twice = asyncio.Event()

    async def ending() -> None:
        nonlocal runs
        runs += 1
        if runs == 2:
            twice.set()
        if crashes:
            raise RuntimeError("crash")

    async with asyncio.timeout(_PATIENCE_S), supervised() as supervisor:
        supervisor.keep("ending", ending)
        await twice.wait()


async def test_a_crash_takes_nobody_else_down() -> None:
    order: list[str] = []

    async def crash() -> None:
        raise RuntimeError("crash")

    async with supervised() as supervisor:
        await _start(supervisor, "bystander", order)
        supervisor.spawn("crash", crash())
        await supervisor.settle(_PATIENCE_S)
        assert order == []


async def test_settling_waits_for_what_spawned_work_spawns() -> None:
    ended: list[str] = []
    async with supervised() as supervisor:

        async def second() -> None:
            await asyncio.sleep(0.01)
            ended.append("second")

        async def first() -> None:
            await asyncio.sleep(0)
            supervisor.spawn("second", second())

        supervisor.spawn("first", first())
        await supervisor.settle(_PATIENCE_S)
        assert ended == ["second"]


async def test_settling_waits_for_spawned_work_and_no_longer_than_told() -> None:
    done: list[str] = []
    release = asyncio.Event()

    async def work() -> None:
        await release.wait()
        done.append("work")

    async with supervised() as supervisor:
        supervisor.spawn("work", work())
        await supervisor.settle(0.0)
        assert done == []
        release.set()
        await supervisor.settle(_PATIENCE_S)
        assert done == ["work"]


async def test_spawned_work_is_cancelled_together_not_one_after_the_other() -> None:
    ending = 0
    all_ending = asyncio.Event()

    async def work() -> None:
        nonlocal ending
        try:
            await asyncio.Event().wait()
        finally:
            ending += 1
            if ending == 5:
                all_ending.set()
            await all_ending.wait()

    async with asyncio.timeout(_PATIENCE_S):
        async with supervised() as supervisor:
            for _ in range(5):
                supervisor.spawn("work", work())
            await asyncio.sleep(0)
    assert ending == 5


async def test_work_cancelled_before_its_first_step_is_closed() -> None:
    """Unclosed, Python warns of a coroutine that nobody awaited, wherever it is collected."""
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")

    never_begun = work()
    async with supervised() as supervisor:
        supervisor.spawn("work", never_begun)
    assert inspect.getcoroutinestate(never_begun) == inspect.CORO_CLOSED
    assert steps == []


async def test_work_spawned_while_stopping_is_ended_too() -> None:
    ended: list[str] = []

    async def late() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("late")

    def spawning(supervisor: Supervisor, started: asyncio.Event) -> Loop:
        async def loop() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                supervisor.spawn("late", late())
                await asyncio.sleep(0)

        return loop

    async with asyncio.timeout(_PATIENCE_S):
        async with supervised() as supervisor:
            started = asyncio.Event()
            supervisor.keep("spawning", spawning(supervisor, started))
            await started.wait()
    assert ended == ["late"]


async def test_an_error_of_the_block_comes_out_as_it_is() -> None:
    order: list[str] = []

    async def block() -> None:
        async with supervised() as supervisor:
            await _start(supervisor, "loop", order)
            raise LookupError("the block's own")

    with pytest.raises(LookupError, match="the block's own"):
        await block()
    assert order == ["loop"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_ends_the_wait_and_a_second_the_process(number: signal.Signals) -> None:
    async with asyncio.timeout(_PATIENCE_S), asyncio.TaskGroup() as group:
        waiting = group.create_task(until_told_to_stop())
        await asyncio.sleep(0)
        os.kill(os.getpid(), number)
        await waiting
    assert signal.getsignal(number) in {signal.SIG_DFL, signal.default_int_handler}
